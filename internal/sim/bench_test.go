package sim

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkAPNs compares the fake with the same handler behind net/http's own TLS server:
// what the layer for faults costs.
func BenchmarkAPNs(b *testing.B) {
	ca, err := sharedCA()
	if err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, r *apnsRig, url string) {
		tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()}}
		defer tr.CloseIdleConnections()
		client, p := &http.Client{Transport: tr}, r.good()
		send := func() {
			req, err := http.NewRequestWithContext(b.Context(), p.method, url+p.path, strings.NewReader(string(p.body)))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header = p.header.Clone()
			if a, err := do(client, req); err != nil || a.status != http.StatusOK {
				b.Errorf("%+v, %v", a, err)
			}
		}
		send() // so that the connection is past its one stream
		b.SetParallelism(32)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				send()
			}
		})
	}
	b.Run("net-http", func(b *testing.B) {
		r := newAPNsRig(b, APNsOptions{})
		cfg, err := tlsConfig(ca, "h2")
		if err != nil {
			b.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		var conns atomic.Int64
		srv := &http.Server{
			Handler: r.APNs, TLSConfig: cfg, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000},
			ConnContext: withConn(func() int { return int(conns.Add(1)) }),
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.ServeTLS(ln, "", "") }()
		defer func() { _ = srv.Close(); <-done }()
		run(b, r, "https://"+ln.Addr().String())
	})
	b.Run("sim", func(b *testing.B) {
		r := newAPNsRig(b, APNsOptions{})
		run(b, r, r.URL())
	})
	b.Run("sim with a fault that never strikes", func(b *testing.B) {
		r := newAPNsRig(b, APNsOptions{})
		if err := r.Faults().Add(Fault{Kind: FaultClose, Share: 1e-12}); err != nil {
			b.Fatal(err)
		}
		run(b, r, r.URL())
	})
}
