package apns

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
)

// Compare BenchmarkSend with BenchmarkBareHTTP2Push of the same run only; sent/bare is
// what the sender costs. Both share the machine with the server.

func benchServer(b *testing.B) *pushtest.Server {
	b.Helper()
	return pushtest.NewServer(b, accept)
}

const parallel = 100 // per processor, enough to keep both sides busy

func BenchmarkSend(b *testing.B) {
	server := benchServer(b)
	client := newClient(b, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, nil)
	mustWarm(b, client)
	sender := newSender(b, client, bell.APNsVoIP)
	ring := pushtest.Ring(bell.APNsVoIP, pushToken)
	b.ReportAllocs()
	b.SetParallelism(parallel)
	var failed atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o := sender.Send(b.Context(), ring, delivery.Try{Number: 1, Now: time.Now()}); o.Verdict != bell.Accepted {
				failed.Add(1)
			}
		}
	})
	report(b, failed.Load())
}

// BenchmarkBareHTTP2Push is the limit: the same bytes over one http.ClientConn, with
// nothing around it.
func BenchmarkBareHTTP2Push(b *testing.B) {
	server := benchServer(b)
	u, err := url.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.Roots, MinVersion: tls.VersionTLS12}, Protocols: &protocols, DisableCompression: true}
	conn, err := transport.NewClientConn(b.Context(), "https", u.Host)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	client := newClient(b, pushtest.Target{URL: server.URL, Roots: server.Roots}, nil)
	sender := newSender(b, client, bell.APNsVoIP)
	ring := pushtest.Ring(bell.APNsVoIP, pushToken)
	body, err := sender.payload(ring.Call, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	token, err := client.tokens.Current()
	if err != nil {
		b.Fatal(err)
	}
	request := sender.request(ring, pushToken.Reveal(), time.Now())
	request.Header["Authorization"] = []string{"bearer " + token}
	b.ReportAllocs()
	b.SetParallelism(parallel)
	var failed atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := request.WithContext(b.Context())
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			response, err := conn.RoundTrip(r)
			if err != nil {
				failed.Add(1)
				continue
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				failed.Add(1)
			}
		}
	})
	report(b, failed.Load())
}

func report(b *testing.B, failed int64) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
	if failed > 0 {
		b.Errorf("%d of %d failed", failed, b.N)
	}
}
