/** The variables that this package reads; a process that is started for its work needs them, and no others for this. */
export const registryVariables = [
  "HOME",
  "PATH",
  "DOCKER_CONFIG",
  "HELM_CONFIG_HOME",
  "HELM_REGISTRY_CONFIG",
  "XDG_CONFIG_HOME",
  "KWS_INSECURE_REGISTRIES",
  "NODE_EXTRA_CA_CERTS",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
];
