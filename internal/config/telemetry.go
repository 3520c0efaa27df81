package config

import (
	"fmt"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// Telemetry is what leaves the process to be watched, beside logs and metrics.
type Telemetry struct {
	Traces Traces `koanf:"traces"`
}

// Traces sends what becomes of each call to a collector, as OpenTelemetry.
type Traces struct {
	// Endpoint is where OTLP over HTTP is taken: https://collector.example.com:4318, or with its
	// path, which is /v1/traces otherwise. Empty: there are no traces, and they cost nothing.
	Endpoint string `koanf:"endpoint"`
	// Headers are sent with them, as name=value, with commas between several.
	Headers planet.Secret `koanf:"headers"`
	// SampleRatio is of how many calls, 0 to 1. A callback with a traceparent of its own decides
	// for its call.
	SampleRatio float64 `koanf:"sample_ratio" default:"0.01"`
}

func (c *checker) telemetry(t *Traces) {
	const at = "telemetry.traces"
	if t.Endpoint != "" {
		c.serverURL(at+".endpoint", t.Endpoint)
	}
	if t.SampleRatio < 0 || t.SampleRatio > 1 || t.SampleRatio != t.SampleRatio {
		c.wrong(at+".sample_ratio", "want 0 to 1.")
	}
	for i, pair := range strings.Split(t.Headers.Reveal(), ",") {
		name, _, found := strings.Cut(pair, "=")
		if _, strange := characters(planet.Secret(strings.ReplaceAll(pair, " ", "")), printable); strange || t.Headers != "" && (!found || strings.TrimSpace(name) == "") {
			c.wrong(at+".headers", fmt.Sprintf("entry %d: want name=value, with commas between several.", i+1))
			return
		}
	}
}
