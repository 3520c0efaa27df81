package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildInfo says what this binary was made from.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // commit, with "+changes" if the tree was not clean
	Time     string `json:"time,omitempty"`     // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		recorded, _ := debug.ReadBuildInfo()
		info := readBuild(recorded)
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), info)
		}
		printer{w: cmd.OutOrStdout()}.line("planetbell %s (%s, %s)", info.Version, info.Go, info.Platform)
		return nil
	}
	return cmd
}

func readBuild(recorded *debug.BuildInfo) buildInfo {
	info := buildInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if recorded == nil {
		return info
	}
	for _, s := range recorded.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Revision = s.Value + info.Revision
		case "vcs.time":
			info.Time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				info.Revision += "+changes"
			}
		}
	}
	return info
}
