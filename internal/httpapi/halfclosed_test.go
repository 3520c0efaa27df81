package httpapi_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// TestHalfClosedConnectionIsToldTheTruth: to net/http, a client that has closed its half of
// the connection has gone, but it still reads. A handler that wrote nothing would have
// net/http answer 200, and a callback that was not taken would count as taken.
func TestHalfClosedConnectionIsToldTheTruth(t *testing.T) {
	poll := "GET /v2/notification/lp HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + appToken + "\r\n\r\n"
	notify := "GET " + cb("notify") + notifyQuery() + " HTTP/1.1\r\nHost: h\r\n\r\n"
	gone := make(chan context.Context, 1)
	w := newWorld(t)
	w.calls.ring = func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error) {
		<-(<-gone).Done()
		return call.RingResult{}, bell.E(bell.Unavailable, "The database's disk is full; free some space.", nil)
	}
	w.mailbox.wait = func(ctx context.Context, _ bell.Poll) (*bell.Letter, error) {
		<-ctx.Done()
		return letter(func(written bool) {
			if written {
				t.Error("the letter counts as written")
			}
		}), nil
	}
	srv := httptest.NewUnstartedServer(nil)
	handler := w.start()
	srv.Config = httpapi.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/notification/lp" {
			gone <- r.Context()
		}
		handler.ServeHTTP(out, r)
	}), testlog.New(t))
	srv.Start()
	defer srv.Close()
	for name, request := range map[string]string{"notify": notify, "poll": poll} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("answered %d, want 503", res.StatusCode)
			}
		})
	}
}
