# The configuration file and the configuration without one.
varve_library(app_config
  SOURCES builtin_config.cc config.cc config_catalogs.cc config_discovery.cc config_http.cc config_scrape.cc
          config_sections.cc config_yaml.cc yaml_reader.cc
  DEPS model app_units net kube scrape yaml-cpp absl::hash absl::strings)
