package httpapi_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/testlog"
)

func (w *world) serve(t *testing.T) *server {
	s := &server{w: w, accept: make(chan net.Conn), ended: make(chan error, 1)}
	s.http = httpapi.NewServer(w.start(), testlog.New(t))
	go func() { s.ended <- s.http.Serve(s) }()
	return s
}

// TestRequestLines is against a real server on both sides of each limit: 64 KiB come
// through whole, longer ones are refused by us, and much longer ones by net/http.
func TestRequestLines(t *testing.T) {
	const limit = 64 << 10
	w := newWorld(t)
	got := w.rung()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer(w.start(), testlog.New(t))
	srv.Start()
	defer srv.Close()

	line := func(data int) string {
		return "GET " + cb("notify") + notifyQuery() + "&app_svr_data=" + strings.Repeat("d", data) + " HTTP/1.1"
	}
	room := limit - len(line(0))
	headers := "Host: h\r\nX-Filler: " + strings.Repeat("h", 16<<10) + "\r\n\r\n"
	tests := []struct {
		name   string
		data   int
		status int
	}{
		{"longest", room, 200},
		{"one more", room + 1, 414},
		{"half as much again", room + limit/4, 414},
		{"twice", room + limit, 431},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			*got = nil
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := line(test.data) + "\r\n" + headers
			written := make(chan struct{})
			go func() { // a server that refuses stops reading
				defer close(written)
				_, _ = io.WriteString(conn, request)
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != test.status {
				t.Errorf("a line of %d bytes: status %d, want %d", test.data-room+limit, res.StatusCode, test.status)
			}
			if (len(*got) == 1) != (test.status == 200) {
				t.Errorf("rung %d times", len(*got))
			}
			conn.Close()
			<-written
		})
	}
}

func TestLineTooLongIsInTheContract(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("d", 70_000)
	for _, req := range good() {
		sep := "?"
		if strings.Contains(req.target, "?") {
			sep = "&"
		}
		out := w.do(req.method, req.target+sep+"x="+long, req.body, req.headers...)
		if req.name != "recording" { // off, so not of the contract
			out.want(t, http.StatusRequestURITooLong)
		}
		if strings.Contains(string(out.body), "dddd") {
			t.Error("the answer repeats the line")
		}
	}
}

// TestSlowClientsAreCut: a client cannot hold a connection by sending slowly or not at
// all.
func TestSlowClientsAreCut(t *testing.T) {
	tests := []struct {
		name, sent string
		after      time.Duration
	}{
		{"half a header", "GET / HTTP/1.1\r\nHost: h\r\nX-A: ", 10 * time.Second},
		{"half a body", "POST /v2/register_user HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{", 20 * time.Second},
		{"half a body where none is read", "GET /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{", 20 * time.Second},
		{"half a body of a poll", "GET /v2/notification/lp HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{", 20 * time.Second},
		{"nothing after a request", "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", 90 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.panicWith("a request that never came whole must not reach a service")
				s := w.serve(t)
				client := s.dial()
				start := time.Now()
				if _, err := io.WriteString(client, test.sent); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, client); err != nil {
					t.Errorf("reading until the end: %v", err)
				}
				// net/http lingers half a second after an answer to a broken request.
				if took := time.Since(start); took < test.after || took > test.after+time.Second {
					t.Errorf("cut after %v, want %v", took, test.after)
				}
				_ = client.Close()
				s.stop()
			})
		})
	}
}

// TestBothProtocolsOverTLS: LINE's clients speak either.
func TestBothProtocolsOverTLS(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer(w.start(), testlog.New(t))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for major, protos := range map[int][]string{1: {"http/1.1"}, 2: {"h2", "http/1.1"}} {
		transport := srv.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, NextProtos: protos}
		transport.ForceAttemptHTTP2 = major == 2
		client := &http.Client{Transport: transport}
		req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/v2/notification/lp", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+appToken)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Contains(body, []byte(ccParam)) {
			t.Errorf("HTTP/%d: no call in the answer (%v)", major, err)
		}
		if res.ProtoMajor != major || res.StatusCode != http.StatusOK {
			t.Errorf("HTTP/%d answered with status %d, want HTTP/%d", res.ProtoMajor, res.StatusCode, major)
		}
		_ = res.Body.Close()
		transport.CloseIdleConnections()
	}
}

// TestServersOwnLogHoldsNoSecrets: what net/http writes by itself is kept low.
func TestServersOwnLogHoldsNoSecrets(t *testing.T) {
	var out lockedBuffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := httpapi.NewServer(http.NotFoundHandler(), log)
	srv.ErrorLog.Print("http: TLS handshake error")
	if text := out.String(); !strings.Contains(text, `"level":"DEBUG"`) || !strings.Contains(text, `"component":"httpapi"`) {
		t.Errorf("log line %s", text)
	}
	if srv.WriteTimeout != 0 {
		t.Errorf("write time-out %v would cut polls", srv.WriteTimeout)
	}
}
