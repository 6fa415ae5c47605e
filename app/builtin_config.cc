// SPDX-License-Identifier: Apache-2.0
//
// The configuration is text that goes through the same reading as a file, so that the status page
// shows it and a user can start from it.
#include "app/builtin_config.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kube/client.h"
#include "model/labels.h"

namespace varve {
namespace {

// A closed port on this machine refuses at once; a firewall that drops is not worth more.
constexpr int kProbeMillis = 200;

constexpr std::string_view kHead = R"(global:
  scrape_interval: 10s
  scrape_timeout: 10s
scrape_configs:
)";

constexpr std::string_view kPods = R"(- job_name: kubernetes-pods
  honor_labels: true
  kubernetes_sd_configs:
  - role: pod
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
    action: keep
    regex: "true"
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape_slow]
    action: drop
    regex: "true"
)";
constexpr std::string_view kSlowPods = R"(- job_name: kubernetes-pods-slow
  honor_labels: true
  scrape_interval: 5m
  scrape_timeout: 30s
  kubernetes_sd_configs:
  - role: pod
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape_slow]
    action: keep
    regex: "true"
)";

// The relabelling of the annotations is the one Helm charts made customary; in addition it brackets
// a bare IPv6 address and leaves out init containers without ports, which nothing can scrape.
constexpr std::string_view kPodRelabelling = R"(  - source_labels: [__meta_kubernetes_pod_phase]
    action: drop
    regex: Pending|Succeeded|Failed
  - source_labels: [__meta_kubernetes_pod_container_init, __meta_kubernetes_pod_container_port_number]
    action: drop
    regex: true;
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scheme]
    regex: (https?)
    target_label: __scheme__
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    regex: (.+)
    target_label: __metrics_path__
  - source_labels: [__meta_kubernetes_pod_container_port_number, __address__]
    regex: ;(([A-Fa-f0-9]{0,4}:){2,7}[A-Fa-f0-9.]{0,15})
    replacement: "[$1]"
    target_label: __address__
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_port, __meta_kubernetes_pod_ip]
    regex: (\d+);(([A-Fa-f0-9]{0,4}:){2,7}[A-Fa-f0-9.]{0,15})
    replacement: "[$2]:$1"
    target_label: __address__
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_port, __meta_kubernetes_pod_ip]
    regex: (\d+);((\d+\.){3}\d+)
    replacement: $2:$1
    target_label: __address__
  - action: labelmap
    regex: __meta_kubernetes_pod_annotation_prometheus_io_param_(.+)
    replacement: __param_$1
  - action: labelmap
    regex: __meta_kubernetes_pod_label_(.+)
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
  - source_labels: [__meta_kubernetes_pod_node_name]
    target_label: node
)";

// What the cluster's own parts tell, under the job names and labels that the dashboards of
// kube-prometheus select. Kubelets mostly serve with certificates that they signed themselves. Of
// the pods and services around the API server only its own service is asked for.
constexpr std::string_view kClusterJobs = R"(- job_name: kubelet
  scrape_interval: 30s
  honor_labels: true
  scheme: https
  authorization: {{credentials_file: {0}}}
  tls_config: {{insecure_skip_verify: true}}
  kubernetes_sd_configs:
  - role: node
  relabel_configs: &kubelet
  - target_label: job
    replacement: kubelet
  - source_labels: [__meta_kubernetes_node_name]
    target_label: node
  - source_labels: [__metrics_path__]
    target_label: metrics_path
- job_name: kubelet-cadvisor
  scrape_interval: 30s
  honor_labels: true
  track_timestamps_staleness: true
  metrics_path: /metrics/cadvisor
  scheme: https
  authorization: {{credentials_file: {0}}}
  tls_config: {{insecure_skip_verify: true}}
  kubernetes_sd_configs:
  - role: node
  relabel_configs: *kubelet
- job_name: apiserver
  scrape_interval: 30s
  scheme: https
  authorization: {{credentials_file: {0}}}
  tls_config: {{ca_file: {1}, server_name: kubernetes}}
  kubernetes_sd_configs:
  - role: endpointslice
    namespaces: {{names: [default]}}
    selectors:
    - {{role: endpointslice, label: kubernetes.io/service-name=kubernetes}}
    - {{role: service, field: metadata.name=kubernetes}}
    - {{role: pod, field: metadata.name=kubernetes}}
  relabel_configs:
  - source_labels: [__meta_kubernetes_service_name, __meta_kubernetes_endpointslice_port_name]
    action: keep
    regex: kubernetes;https
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_service_name]
    target_label: service
  - source_labels: [__meta_kubernetes_endpointslice_port_name]
    target_label: endpoint
)";

// Under which address this process reaches itself.
std::string OwnAddress(std::string_view listen_address) {
  const size_t colon = listen_address.rfind(':');
  const std::string_view host = listen_address.substr(0, colon);
  if (colon != std::string_view::npos && (host.empty() || host == "0.0.0.0" || host == "[::]")) {
    return fmt::format("localhost{}", listen_address.substr(colon));
  }
  return std::string(listen_address);
}

std::string StaticJob(std::string_view job, std::string_view address) {
  return fmt::format("- job_name: {}\n  static_configs:\n  - targets: [{}]\n", job,
                     Quoted(address));
}

bool AnswersLocally(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  pollfd waiting = {.fd = fd, .events = POLLOUT, .revents = 0};
  if (!connected && poll(&waiting, 1, kProbeMillis) == 1) {
    int error = 0;
    socklen_t bytes = sizeof(error);
    connected = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0;
  }
  close(fd);
  return connected;
}

}  // namespace

std::string BuiltinConfigYaml(std::string_view listen_address,
                              const BuiltinSurroundings& surroundings) {
  std::string yaml(kHead);
  yaml += StaticJob("varve", OwnAddress(listen_address));
  if (surroundings.node_exporter) {
    yaml += StaticJob("node", fmt::format("localhost:{}", kNodeExporterPort));
  }
  if (surroundings.in_cluster) {
    for (const std::string_view job : {kPods, kSlowPods}) {
      yaml += job;
      yaml += kPodRelabelling;
    }
    yaml += fmt::format(kClusterJobs, Quoted(surroundings.account_dir + "/token"),
                        Quoted(surroundings.account_dir + "/ca.crt"));
  }
  return yaml;
}

absl::StatusOr<Config> BuiltinConfig(std::string_view listen_address,
                                     const ConfigOptions& options) {
  const BuiltinSurroundings surroundings = {.node_exporter = AnswersLocally(kNodeExporterPort),
                                            .in_cluster = IsInKubernetes(),
                                            .account_dir = ServiceAccountDir()};
  return ParseConfig(BuiltinConfigYaml(listen_address, surroundings), "built-in configuration",
                     options);
}

}  // namespace varve
