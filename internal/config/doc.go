// Package config is where a configuration file, the environment and command-line
// flags meet, and the only place that reads any of them.
//
// [Load] merges the sources, resolves secrets that lie in files, and checks the
// whole at once: it answers with a [Config] that will work, or with an [Error] that
// lists everything wrong, each as a sentence with the setting's path. Later sources
// win: defaults, then the YAML file, then PLANETBELL_* variables, then flags.
//
// The structs of [Config] are the schema. A field's tags say its key ("koanf"), its
// default and its bounds; so one look at a field tells all about a setting, and the
// loader, the redacted print and the test of config.example.yaml cannot disagree.
// Every field of type [planet.Secret] may also be given as <key>_file.
package config
