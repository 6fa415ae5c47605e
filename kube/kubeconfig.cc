// SPDX-License-Identifier: Apache-2.0
//
// kubeconfig files. yaml-cpp's exceptions end here.
#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>

#include "kube/client.h"
#include "model/status_macros.h"

namespace varve {
namespace {

absl::Status Invalid(const std::string& path, std::string_view message) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", path, message));
}

std::string Text(const YAML::Node& node, const char* key) {
  const YAML::Node value = node[key];
  return value && value.IsScalar() ? value.Scalar() : "";
}

// The entry called `name` of one of the file's lists, or a null node.
YAML::Node Named(const YAML::Node& root, const char* list, const std::string& name,
                 const char* what) {
  const YAML::Node entries = root[list];
  if (!entries || !entries.IsSequence()) return YAML::Node();
  for (const YAML::Node& entry : entries) {
    if (entry.IsMap() && Text(entry, "name") == name) {
      const YAML::Node body = entry[what];
      return body && body.IsMap() ? body : YAML::Node();
    }
  }
  return YAML::Node();
}

std::string JsonQuoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

class KubeconfigReader {
 public:
  KubeconfigReader(std::string path, const YAML::Node& root)
      : path_(std::move(path)), root_(root) {}

  absl::StatusOr<KubeEndpoint> Read() {
    if (!root_.IsMap()) return Invalid(path_, "not a kubeconfig file");
    const std::string name = Text(root_, "current-context");
    if (name.empty()) return Invalid(path_, "current-context is not set");
    const YAML::Node context = Named(root_, "contexts", name, "context");
    if (!context.IsMap()) return Invalid(path_, fmt::format("context \"{}\" does not exist", name));
    endpoint_.namespace_ = Text(context, "namespace");

    const std::string cluster_name = Text(context, "cluster");
    const YAML::Node cluster = Named(root_, "clusters", cluster_name, "cluster");
    if (!cluster.IsMap()) {
      return Invalid(path_, fmt::format("cluster \"{}\" does not exist", cluster_name));
    }
    RETURN_IF_ERROR(ReadCluster(cluster));

    const std::string user_name = Text(context, "user");
    if (!user_name.empty()) {
      const YAML::Node user = Named(root_, "users", user_name, "user");
      if (!user.IsMap()) {
        return Invalid(path_, fmt::format("user \"{}\" does not exist", user_name));
      }
      RETURN_IF_ERROR(ReadUser(user));
    }
    return std::move(endpoint_);
  }

 private:
  absl::Status ReadCluster(const YAML::Node& cluster) {
    endpoint_.server = Text(cluster, "server");
    if (endpoint_.server.empty()) return Invalid(path_, "the cluster has no server");
    if (endpoint_.server.find("://") == std::string::npos) {
      endpoint_.server = "https://" + endpoint_.server;
    }
    while (endpoint_.server.back() == '/') endpoint_.server.pop_back();
    TlsConfig& tls = endpoint_.http.tls;
    ASSIGN_OR_RETURN(tls.ca, Data(cluster, "certificate-authority-data"));
    if (tls.ca.empty()) endpoint_.ca_file = Path(cluster, "certificate-authority");
    tls.server_name = Text(cluster, "tls-server-name");
    tls.insecure_skip_verify = Text(cluster, "insecure-skip-tls-verify") == "true";
    endpoint_.http.proxy.proxy_url = Text(cluster, "proxy-url");
    return absl::OkStatus();
  }

  absl::Status ReadUser(const YAML::Node& user) {
    if (user["auth-provider"]) {
      return absl::UnimplementedError(
          fmt::format("{}: users with `auth-provider` are not supported yet", path_));
    }
    if (user["exec"]) RETURN_IF_ERROR(ReadExec(user["exec"]));
    TlsConfig& tls = endpoint_.http.tls;
    ASSIGN_OR_RETURN(tls.cert, Data(user, "client-certificate-data"));
    if (tls.cert.empty()) tls.cert_file = Path(user, "client-certificate");
    ASSIGN_OR_RETURN(std::string key, Data(user, "client-key-data"));
    if (key.empty()) tls.key_file = Path(user, "client-key");
    tls.key = Secret(std::move(key));
    ReadIdentity(user);
    return endpoint_.http.Validate();
  }

  absl::Status ReadExec(const YAML::Node& node) {
    constexpr std::string_view kGroup = "client.authentication.k8s.io/";
    if (!node.IsMap()) return Invalid(path_, "exec is no map");
    ExecPluginConfig exec{.api_version = Text(node, "apiVersion"),
                          .command = Text(node, "command"),
                          .install_hint = Text(node, "installHint")};
    if (exec.command.empty()) return Invalid(path_, "exec: command must be specified");
    if (exec.api_version != fmt::format("{}v1", kGroup) &&
        exec.api_version != fmt::format("{}v1beta1", kGroup)) {
      return Invalid(path_, fmt::format("exec: invalid apiVersion \"{}\"", exec.api_version));
    }
    if (Text(node, "interactiveMode") == "Always") {
      return Invalid(path_,
                     "exec plugin cannot support interactive mode: standard input is unavailable");
    }
    // A name is looked for in PATH, a path is against the file's directory.
    if (exec.command.find('/') != std::string::npos) exec.command = Path(node, "command");
    const YAML::Node args = node["args"];
    for (size_t i = 0; args && args.IsSequence() && i < args.size(); ++i) {
      exec.args.push_back(args[i].as<std::string>(""));
    }
    const YAML::Node env = node["env"];
    for (size_t i = 0; env && env.IsSequence() && i < env.size(); ++i) {
      if (env[i].IsMap()) exec.env.emplace_back(Text(env[i], "name"), Text(env[i], "value"));
    }
    if (Text(node, "provideClusterInfo") == "true") {
      ASSIGN_OR_RETURN(exec.cluster_json, ClusterJson());
    }
    endpoint_.exec = std::move(exec);
    return absl::OkStatus();
  }

  // The cluster as plugins are told of it.
  absl::StatusOr<std::string> ClusterJson() const {
    const TlsConfig& tls = endpoint_.http.tls;
    std::string ca = tls.ca;
    if (ca.empty() && !endpoint_.ca_file.empty()) {
      ASSIGN_OR_RETURN(ca, ReadCredentialFile(endpoint_.ca_file));
    }
    std::string json = fmt::format("{{\"server\":{}", JsonQuoted(endpoint_.server));
    const auto add = [&json](std::string_view name, const std::string& value) {
      if (!value.empty()) json += fmt::format(",\"{}\":{}", name, JsonQuoted(value));
    };
    add("tls-server-name", tls.server_name);
    add("certificate-authority-data", ca.empty() ? "" : absl::Base64Escape(ca));
    add("proxy-url", endpoint_.http.proxy.proxy_url);
    if (tls.insecure_skip_verify) json += R"(,"insecure-skip-tls-verify":true)";
    return json + "}";
  }

  void ReadIdentity(const YAML::Node& user) {
    HttpClientConfig& http = endpoint_.http;
    endpoint_.token_file = Path(user, "tokenFile");
    const std::string token = Text(user, "token");
    const std::string username = Text(user, "username");
    if (endpoint_.token_file.empty() && !token.empty()) {
      http.authorization = AuthorizationConfig{.credentials = Secret(token)};
    } else if (endpoint_.token_file.empty() && !username.empty()) {
      http.basic_auth =
          BasicAuthConfig{.username = username, .password = Secret(Text(user, "password"))};
    }
    const auto add = [&http](std::string name, std::string value) {
      if (value.empty()) return;
      http.http_headers.push_back({.name = std::move(name), .values = {std::move(value)}});
    };
    add("Impersonate-User", Text(user, "as"));
    add("Impersonate-Uid", Text(user, "as-uid"));
    const YAML::Node groups = user["as-groups"];
    if (groups && groups.IsSequence()) {
      for (const YAML::Node& group : groups) add("Impersonate-Group", group.as<std::string>(""));
    }
  }

  // Base64 of the field `key`.
  absl::StatusOr<std::string> Data(const YAML::Node& node, const char* key) {
    std::string decoded;
    if (!absl::Base64Unescape(Text(node, key), &decoded)) {
      return Invalid(path_, fmt::format("{} is not base64", key));
    }
    return decoded;
  }

  // The field `key` as a path, relative ones against the file's directory.
  std::string Path(const YAML::Node& node, const char* key) {
    const std::string text = Text(node, key);
    if (text.empty()) return "";
    return (std::filesystem::path(path_).parent_path() / text).string();
  }

  const std::string path_;
  const YAML::Node root_;
  KubeEndpoint endpoint_;
};

}  // namespace

absl::StatusOr<KubeEndpoint> KubeEndpoint::FromKubeconfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadCredentialFile(path));
  try {
    return KubeconfigReader(path, YAML::Load(text)).Read();
  } catch (const YAML::Exception& error) {
    return Invalid(path, error.what());
  }
}

}  // namespace varve
