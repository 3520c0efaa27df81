package apns_test

import (
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// tunnel is what a proxy does with CONNECT.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	t.Helper()
	server, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Errorf("proxy: %v", err)
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("proxy: %v", err)
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		t.Errorf("proxy: %v", err)
		return
	}
	var wg sync.WaitGroup
	pipe := func(to, from net.Conn, r io.Reader) {
		_, _ = io.Copy(to, r)
		_, _ = to.Close(), from.Close()
	}
	wg.Go(func() { pipe(server, client, buffered) })
	wg.Go(func() { pipe(client, server, server) })
	wg.Wait()
}
