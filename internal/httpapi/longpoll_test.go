package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// holding makes the mailbox wait for the whole hold time and records it.
func (w *world) holding() *[]time.Duration {
	var holds []time.Duration
	w.mailbox.wait = func(ctx context.Context, poll bell.Poll) (*bell.Letter, error) {
		if poll.DeviceID != "device-1" || poll.Acknowledges {
			w.t.Errorf("waited with %+v", poll)
		}
		holds = append(holds, poll.Hold)
		timer := time.NewTimer(poll.Hold)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return &holds
}

// A node that hears of no calls lets polls go soon, so that the next may come to another.
func TestPollIsHeldBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cutOff := false
		w.config.Brief = func() bool { return cutOff }
		holds := w.holding()
		for _, cutOff = range []bool{false, true} {
			w.do("GET", "/v2/notification/lp", "", as(appToken)...).want(t, http.StatusServiceUnavailable)
		}
		if long, brief := (*holds)[0], (*holds)[1]; long < 20*time.Second || brief > 2*time.Second || brief < 1800*time.Millisecond {
			t.Errorf("held %v, and %v while the node hears of nothing", long, brief)
		}
	})
}

func TestPollIsHeld(t *testing.T) {
	tests := []struct {
		configured, at time.Duration
	}{
		{0, 25 * time.Second},
		{50 * time.Second, 50 * time.Second},
		{time.Second, 5 * time.Second},
		{10 * time.Minute, 55 * time.Second},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.configured), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.config.Hold = test.configured
				holds := w.holding()
				different := map[time.Duration]bool{}
				for range 20 {
					start := time.Now()
					w.do("GET", "/v2/notification/lp", "", as(appToken)...).want(t, http.StatusServiceUnavailable)
					took := time.Since(start)
					if took > test.at || took < test.at*9/10 || took != (*holds)[len(*holds)-1] {
						t.Errorf("answered after %v, want up to a tenth less than %v", took, test.at)
					}
					different[took] = true
				}
				if len(different) < 10 {
					t.Errorf("20 polls had %d different times; they would stay in step", len(different))
				}
				if level := w.lines()[0]["level"]; level != "DEBUG" {
					t.Errorf("an empty poll is logged as %v", level)
				}
			})
		})
	}
}

// TestPollIsNeverRefusedAtOnce: Android and Apple would ask again at once, for ever;
// and Windows stops at anything but 503.
func TestPollIsNeverRefusedAtOnce(t *testing.T) {
	none := func(context.Context, bell.Poll) (*bell.Letter, error) { return nil, nil }
	tests := []struct {
		name    string
		broken  func(*world)
		atLeast time.Duration
	}{
		{"empty mailbox that does not wait", func(w *world) { w.mailbox.wait = none }, time.Second},
		{"too many polls", func(w *world) { w.everything(bell.E(bell.TooMany, "Too many polls.", nil)) }, 2 * time.Second},
		{"mailbox fails", func(w *world) { w.everything(errors.New("disk")) }, 2 * time.Second},
		{"registry fails", func(w *world) {
			w.devices.polling = func(context.Context, bell.Identity, bool) (string, error) { return "", errors.New("disk") }
		}, 2 * time.Second},
		{"accounts fail", func(w *world) {
			w.accounts.authenticate = func(context.Context, planet.Secret) (bell.Identity, error) {
				return bell.Identity{}, errors.New("disk")
			}
		}, 2 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				test.broken(w)
				start := time.Now()
				w.do("GET", "/v2/notification/lp", "", as(appToken)...).want(t, http.StatusServiceUnavailable)
				if took := time.Since(start); took < test.atLeast || took > 5*time.Second {
					t.Errorf("answered after %v, want at least %v and not much more", took, test.atLeast)
				}
			})
		})
	}
}

// While the database does not answer, no call can come to a poll here: the device is soon free to ask
// another node, and sooner where that is known.
func TestPollDoesNotWaitForADatabaseThatHangs(t *testing.T) {
	for cutOff, most := range map[bool]time.Duration{false: 4 * time.Second, true: 2 * time.Second} {
		for _, where := range []string{"accounts", "registry"} {
			t.Run(fmt.Sprint(where, " cut off ", cutOff), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.config.Brief = func() bool { return cutOff }
					switch where {
					case "accounts":
						w.accounts.authenticate = func(ctx context.Context, _ planet.Secret) (bell.Identity, error) {
							<-ctx.Done()
							return bell.Identity{}, context.Cause(ctx)
						}
					default:
						w.devices.polling = func(ctx context.Context, _ bell.Identity, _ bool) (string, error) {
							<-ctx.Done()
							return "", context.Cause(ctx)
						}
					}
					start := time.Now()
					w.do("GET", "/v2/notification/lp", "", as(appToken)...).want(t, http.StatusServiceUnavailable)
					if took := time.Since(start); took < time.Second || took > most {
						t.Errorf("answered after %v, want between 1 s and %v", took, most)
					}
				})
			})
		}
	}
}

func TestPollDeliversACall(t *testing.T) {
	w := newWorld(t)
	var done []bool
	w.mailbox.wait = func(context.Context, bell.Poll) (*bell.Letter, error) {
		return letter(func(written bool) { done = append(done, written) }), nil
	}
	out := w.do("GET", "/v2/notification/lp", "", as(appToken)...)
	out.want(t, http.StatusOK)
	want := map[string]any{
		"app_call_type": "A", "app_callee_uid": "bob", "app_callee_sid": service, "app_caller_uid": "alice",
		"app_caller_sid": service, "_env": "evaluation", "cc_param": ccParam, "app_session_id": sid,
		"app_sent_at": "1700000000000", "app_expires_at": "1700000055000",
	}
	if diff := cmp.Diff(want, out.envelope.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]bool{true}, done); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	if line := w.lines()[0]; line["sid"] != sid {
		t.Errorf("log line %v", line)
	}
}

// brokenWriter fails as a connection does that has gone.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// unflushable takes the bytes but cannot send them.
type unflushable struct{ *httptest.ResponseRecorder }

func (unflushable) FlushError() error { return errors.New("broken pipe") }

func TestLetterGoesBackWhenItCouldNotBeWritten(t *testing.T) {
	leave, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		writer http.ResponseWriter
		ctx    context.Context
	}{
		{"write fails", brokenWriter{httptest.NewRecorder()}, t.Context()},
		{"flush fails", unflushable{httptest.NewRecorder()}, t.Context()},
		{"client has gone", httptest.NewRecorder(), leave},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			var done []bool
			w.mailbox.wait = func(context.Context, bell.Poll) (*bell.Letter, error) {
				return letter(func(written bool) { done = append(done, written) }), nil
			}
			r := httptest.NewRequest("GET", "/v2/notification/lp", nil).WithContext(test.ctx)
			r.Header.Set("Authorization", "Bearer "+appToken)
			w.start().ServeHTTP(test.writer, r)
			if diff := cmp.Diff([]bool{false}, done); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if line := w.lines()[0]; line["status"] != 499.0 {
				t.Errorf("log line %v, want status 499", line)
			}
		})
	}
}

// TestLetterGoesBackWhenTheClientLeaves uses a real connection: net/http has to notice.
func TestLetterGoesBackWhenTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var done []bool
		w.mailbox.wait = func(ctx context.Context, _ bell.Poll) (*bell.Letter, error) {
			<-ctx.Done() // the call comes just as the client leaves
			return letter(func(written bool) { done = append(done, written) }), nil
		}
		s := w.serve(t)
		client := s.dial()
		fmt.Fprintf(client, "GET /v2/notification/lp HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", appToken)
		synctest.Wait()
		if n := w.metric("planetbell_http_polls_waiting"); n != 1 {
			t.Errorf("%v polls wait", n)
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]bool{false}, done); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
		if n := w.metric("planetbell_http_polls_waiting"); n != 0 {
			t.Errorf("%v polls wait", n)
		}
		s.stop()
	})
}

// TestLetterGoesBackWhenTheClientDoesNotRead: a client that takes nothing off the wire
// holds neither the connection nor the call.
func TestLetterGoesBackWhenTheClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var done []bool
		var after time.Duration
		start := time.Now()
		w.mailbox.wait = func(context.Context, bell.Poll) (*bell.Letter, error) {
			return letter(func(written bool) { done, after = append(done, written), time.Since(start) }), nil
		}
		s := w.serve(t)
		client := s.dial()
		fmt.Fprintf(client, "GET /v2/notification/lp HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", appToken)
		advance(t, 6*time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]bool{false}, done); diff != "" || after != 5*time.Second {
			t.Errorf("done %v after %v, want [false] after 5s", done, after)
		}
		_ = client.Close()
		s.stop()
	})
}

// TestPollOutlivesTheReadTimeouts: what bounds slow requests must not cut a poll.
func TestPollOutlivesTheReadTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Hold = 55 * time.Second
		w.holding()
		s := w.serve(t)
		client := s.dial()
		fmt.Fprintf(client, "GET /v2/notification/lp HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", appToken)
		in := bufio.NewReader(client)
		start := time.Now()
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); res.StatusCode != http.StatusServiceUnavailable || took < 49*time.Second {
			t.Errorf("status %d after %v", res.StatusCode, took)
		}
		_ = client.Close()
		s.stop()
	})
}

// TestPollThatPanics: a bug behind the poll is answered and counted.
func TestPollThatPanics(t *testing.T) {
	w := newWorld(t)
	w.panicWith(ccParam)
	w.do("GET", "/v2/notification/lp", "", as(appToken)...).want(t, http.StatusInternalServerError)
	if n := w.metric("planetbell_http_panics_total"); n != 1 {
		t.Errorf("counted %v panics", n)
	}
}

// server is a real one of NewServer over connections in memory, so that it lives in a
// bubble.
type server struct {
	w      *world
	http   *http.Server
	accept chan net.Conn
	ended  chan error
}

func (s *server) Accept() (net.Conn, error) {
	c, ok := <-s.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (s *server) Close() error   { close(s.accept); return nil }
func (s *server) Addr() net.Addr { return &net.TCPAddr{} }

func (s *server) dial() net.Conn {
	ours, theirs := net.Pipe()
	s.accept <- theirs
	return ours
}

func (s *server) stop() {
	if err := s.http.Shutdown(s.w.t.Context()); err != nil {
		s.w.t.Errorf("shutdown: %v", err)
	}
	if err := <-s.ended; !errors.Is(err, http.ErrServerClosed) {
		s.w.t.Errorf("serve: %v", err)
	}
}
