//go:build !demo

package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// newExporter makes what sends spans to a collector, by OTLP over HTTP. Its library is a fifth of
// the program's build, so make demo leaves it out.
func newExporter(ctx context.Context, to *url.URL, headers map[string]string, roots *x509.CertPool) (sdktrace.SpanExporter, error) {
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(to.String()), otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(traceTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}),
	}
	if to.Scheme == "https" {
		options = append(options, otlptracehttp.WithTLSClientConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	}
	return otlptracehttp.New(ctx, options...)
}
