// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes objects as groups of targets: one object, and what it refers to, in; the
// `__meta_kubernetes_*` labels of Prometheus' kubernetes_sd_config out.
#pragma once

#include <absl/functional/function_ref.h>

#include <string>

#include "kube/objects.h"
#include "scrape/config.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The resource whose objects a role makes groups of.
KubeResource ResourceOfRole(KubernetesRole role);

// The `source` of an object's group.
std::string KubernetesGroupSource(KubernetesRole role, const KubeObject& object);

// Another object of the cluster, by resource and Key(). Null if it is not known.
using KubernetesFinder =
    absl::FunctionRef<const KubeObject*(KubeResource resource, const std::string& key)>;

// The group of an object of the role's resource: a function of the object and of what `find` gave.
// Without targets if the object has no address, or is not selected by way of what it belongs to.
TargetGroup KubernetesGroup(const KubernetesSdConfig& config, const KubeObject& object,
                            KubernetesFinder find);

// The selector of `config` for objects of a role; null if there is none.
const KubernetesSelector* SelectorOf(const KubernetesSdConfig& config, KubernetesRole role);

}  // namespace varve
