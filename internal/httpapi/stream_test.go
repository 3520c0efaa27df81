package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

const streamPath = "/v2/notification/sse"

func init() {
	openapi3filter.RegisterBodyDecoder("text/event-stream", func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		text, err := io.ReadAll(body)
		return string(text), err
	})
}

// says makes the mailbox tell each stream all of this.
func (w *world) says(events ...bell.StreamEvent) *[]bell.Stream {
	var asked []bell.Stream
	w.mailbox.stream = func(_ context.Context, s *bell.Stream, write func(bell.StreamEvent) bool) error {
		asked = append(asked, *s)
		for _, e := range events {
			if !write(e) {
				break
			}
		}
		return nil
	}
	return &asked
}

// listen asks for a stream, which has to be given.
func (w *world) listen(query string, headers ...string) *reply {
	w.t.Helper()
	out := w.do("GET", streamPath+query, "", append(as(appToken), headers...)...)
	if out.StatusCode != http.StatusOK {
		w.t.Fatalf("status %d: %s", out.StatusCode, out.body)
	}
	return out
}

func TestStreamTellsWhatHappens(t *testing.T) {
	w := newWorld(t)
	notice := planet.Notice{Event: planet.MissedCallEvent, ID: "n-1", About: sid, Type: planet.AudioCall, CalledAt: time.UnixMilli(1)}
	asked := w.says(
		bell.StreamEvent{Kind: bell.StreamOpened},
		bell.StreamEvent{Kind: bell.StreamLetter, SessionID: sid, Payload: letter(nil).Payload, Known: []planet.SessionID{sid}},
		bell.StreamEvent{Kind: bell.StreamBeat},
		bell.StreamEvent{Kind: bell.StreamLetter, SessionID: "n-1", Payload: notice, Notice: true, Known: []planet.SessionID{sid, "n-1"}},
		bell.StreamEvent{Kind: bell.StreamEnded, SessionID: sid, Why: bell.EndedByCall, Known: []planet.SessionID{"n-1"}},
		bell.StreamEvent{Kind: bell.StreamEnded, SessionID: "n-1", Why: bell.EndedByDeadline},
		bell.StreamEvent{Kind: bell.StreamOver},
		bell.StreamEvent{Kind: bell.StreamOver, Later: true},
	)
	out := w.listen("?notices=1")
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Length": ""} {
		if got := out.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	blocks := strings.Split(strings.TrimSuffix(string(out.body), "\n\n"), "\n\n")
	want := []string{
		"retry 1", "event: call|data: {*}|id: 1." + sid, ":", "event: notice|data: {*}|id: 1." + sid + ".n-1",
		`event: ended|data: {"app_session_id":"` + sid + `","why":"ended"}|id: 1.n-1`,
		`event: ended|data: {"app_session_id":"n-1","why":"expired"}|id: `, "retry 1", "retry 30",
	}
	if len(blocks) != len(want) {
		t.Fatalf("%d events, want %d: %q", len(blocks), len(want), blocks)
	}
	for i, block := range blocks {
		if least, ok := strings.CutPrefix(want[i], "retry "); ok {
			from, _ := strconv.Atoi(least)
			got, err := strconv.Atoi(strings.TrimPrefix(block, "retry: "))
			if err != nil || got < from*1000 || got > from*3000 {
				t.Errorf("event %d: %q, want %s to thrice as many seconds", i, block, least)
			}
			continue
		}
		// The ID is last: whoever has it has the data.
		head, tail, _ := strings.Cut(want[i], "*")
		if got := strings.ReplaceAll(block, "\n", "|"); !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tail) || tail == "" && got != head {
			t.Errorf("event %d: %q, want %q", i, got, want[i])
		}
	}
	if !strings.Contains(blocks[1], `"cc_param":"`+ccParam+`"`) || !strings.Contains(blocks[3], `"app_event":"missed_call"`) {
		t.Errorf("events without their data: %q", blocks)
	}
	s := (*asked)[0]
	if s.DeviceID != "device-1" || !s.Acknowledges || !s.Notices || s.Environment != planet.Evaluation || s.Beat != 15*time.Second ||
		s.Hold > time.Hour || s.Hold < 54*time.Minute || s.Known != nil {
		t.Errorf("asked with %+v", s)
	}
}

// What a client has by its own word is recorded as received.
func TestStreamTakesUpWhereTheLastEnded(t *testing.T) {
	for text, want := range map[string][]planet.SessionID{
		"":                            nil,
		"1.a.b":                       {"a", "b"},
		"1." + sid:                    {sid},
		"2.a":                         nil,
		"1":                           nil,
		"1.a.a":                       nil,
		"1.A":                         nil,
		"1.a.":                        nil,
		"1.a/b":                       nil,
		"1" + strings.Repeat(".a", 9): nil,
		strings.Repeat("1", 10_000):   nil,
	} {
		w := newWorld(t)
		asked := w.says(bell.StreamEvent{Kind: bell.StreamOpened})
		w.listen("", "Last-Event-ID", text)
		if diff := cmp.Diff(want, (*asked)[0].Known); diff != "" {
			t.Errorf("%.40q (-want +got):\n%s", text, diff)
		}
	}
	w := newWorld(t)
	var got []bell.Receipt
	var fails error
	w.receipts.over = func(planet.SessionID) bool { return true }
	w.receipts.receive = func(_ context.Context, r bell.Receipt) error { got = append(got, r); return fails }
	var arrivals []bell.Arrival
	w.mailbox.stream = func(ctx context.Context, s *bell.Stream, write func(bell.StreamEvent) bool) error {
		write(bell.StreamEvent{Kind: bell.StreamOpened})
		for _, fails = range []error{nil, bell.E(bell.NotFound, "No.", nil), errors.New("disk")} {
			arrivals = append(arrivals, s.Arrived(ctx, s.Known[0]))
		}
		return nil
	}
	w.listen("", "Last-Event-ID", "1."+sid)
	if diff := cmp.Diff([]bell.Arrival{{Over: true}, {Unknown: true}, {}}, arrivals); diff != "" {
		t.Errorf("arrivals (-want +got):\n%s", diff)
	}
	if r := got[0]; r.SessionID != sid || r.DeviceID != "device-1" || r.Environment != planet.Evaluation || r.Channel != bell.LongPoll || r.At.IsZero() {
		t.Errorf("receipt %+v", r)
	}
}

func TestStreamIsRefused(t *testing.T) {
	for name, broken := range map[string]func(*world){
		"too many": func(w *world) {
			w.mailbox.stream = func(context.Context, *bell.Stream, func(bell.StreamEvent) bool) error {
				return bell.E(bell.Unavailable, "There are too many.", nil)
			}
		},
		"registry fails": func(w *world) {
			w.devices.polling = func(context.Context, bell.Identity, bool) (string, error) { return "", errors.New("disk") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				broken(w)
				out := w.do("GET", streamPath, "", as(appToken)...)
				out.want(t, http.StatusServiceUnavailable)
				if after, err := strconv.Atoi(out.Header.Get("Retry-After")); err != nil || after < 1 || after > 5 {
					t.Errorf("Retry-After %q", out.Header.Get("Retry-After"))
				}
			})
		})
	}
	w := newWorld(t)
	w.do("GET", streamPath, "").want(t, http.StatusUnauthorized)
	w.do("GET", streamPath+"?notices=yes", "", as(appToken)...).want(t, http.StatusBadRequest)
}

func TestStreamLives(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*world)
		from, to time.Duration
	}{
		"an hour":            {func(*world) {}, 54 * time.Minute, time.Hour},
		"as configured":      {func(w *world) { w.config.StreamLife = 10 * time.Minute }, 9 * time.Minute, 10 * time.Minute},
		"briefly":            {func(w *world) { w.config.Brief = func() bool { return true } }, 1800 * time.Millisecond, 2 * time.Second},
		"as its token":       {func(w *world) { w.expires = time.Minute }, time.Minute - time.Second, time.Minute},
		"longer than a beat": {func(w *world) { w.config.Beat = 5 * time.Second }, 54 * time.Minute, time.Hour},
	} {
		w := newWorld(t)
		test.change(w)
		asked := w.says(bell.StreamEvent{Kind: bell.StreamOpened})
		w.listen("")
		if hold := (*asked)[0].Hold; hold < test.from || hold > test.to {
			t.Errorf("%s: %v, want %v to %v", name, hold, test.from, test.to)
		}
	}
}

// beating makes each stream beat every 15 seconds, and says when it ended.
func (w *world) beating() <-chan time.Duration {
	ended := make(chan time.Duration, 1)
	start := time.Now()
	w.mailbox.stream = func(ctx context.Context, _ *bell.Stream, write func(bell.StreamEvent) bool) error {
		e := bell.StreamEvent{Kind: bell.StreamOpened}
		for write(e) {
			e.Kind = bell.StreamBeat
			select {
			case <-time.After(15 * time.Second):
			case <-ctx.Done():
			}
		}
		ended <- time.Since(start)
		return nil
	}
	return ended
}

// A stream whose app token is revoked, or whose device is another's, ends; one of which that
// cannot be found out does not.
func TestStreamIsAskedWhetherItMayGoOn(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world)
		ends   bool
	}{
		"nothing": {func(*world) {}, false},
		"token revoked": {func(w *world) {
			w.accounts.authenticate = func(context.Context, planet.Secret) (bell.Identity, error) {
				return bell.Identity{}, bell.E(bell.Unauthorized, "It was revoked.", nil)
			}
		}, true},
		"another device": {func(w *world) {
			w.devices.polling = func(context.Context, bell.Identity, bool) (string, error) { return "device-2", nil }
		}, true},
		"accounts fail": {func(w *world) {
			w.accounts.authenticate = func(context.Context, planet.Secret) (bell.Identity, error) {
				return bell.Identity{}, errors.New("disk")
			}
		}, false},
		"registry fails": {func(w *world) {
			w.devices.polling = func(context.Context, bell.Identity, bool) (string, error) { return "", errors.New("disk") }
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var now world // what the services say now
				now.accounts, now.devices = w.accounts, w.devices
				w.accounts.authenticate = func(ctx context.Context, token planet.Secret) (bell.Identity, error) {
					return now.accounts.authenticate(ctx, token)
				}
				w.devices.polling = func(ctx context.Context, id bell.Identity, notices bool) (string, error) {
					return now.devices.polling(ctx, id, notices)
				}
				var ended time.Duration
				w.mailbox.stream = func(_ context.Context, _ *bell.Stream, write func(bell.StreamEvent) bool) error {
					write(bell.StreamEvent{Kind: bell.StreamOpened})
					test.change(&now)
					for range 10 {
						advance(t, 15*time.Second)
						ended += 15 * time.Second
						if !write(bell.StreamEvent{Kind: bell.StreamBeat}) {
							return nil
						}
					}
					ended = 0
					return nil
				}
				w.listen("")
				if test.ends && ended != time.Minute || !test.ends && ended != 0 {
					t.Errorf("ended after %v", ended)
				}
			})
		})
	}
}

// A panic behind the question is the stream's own.
func TestStreamThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		calls := 0
		w.devices.polling = func(context.Context, bell.Identity, bool) (string, error) {
			if calls++; calls > 1 {
				panic(ccParam)
			}
			return "device-1", nil
		}
		w.mailbox.stream = func(_ context.Context, _ *bell.Stream, write func(bell.StreamEvent) bool) error {
			write(bell.StreamEvent{Kind: bell.StreamOpened})
			advance(t, 2*time.Minute)
			write(bell.StreamEvent{Kind: bell.StreamBeat})
			return nil
		}
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("panicked with %v", p)
				}
			}()
			w.listen("")
		}()
		if n := w.metric("planetbell_http_panics_total"); n != 1 {
			t.Errorf("counted %v panics", n)
		}
	})
}

// A client that takes nothing off the wire does not hold its stream.
func TestStreamOfAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ended := w.beating()
		s := w.serve(t)
		client := s.dial()
		fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", streamPath, appToken)
		if _, err := http.ReadResponse(bufio.NewReader(client), nil); err != nil {
			t.Fatal(err)
		}
		if after := <-ended; after != 20*time.Second {
			t.Errorf("the stream ended after %v, want 5 s after its second event", after)
		}
		_ = client.Close()
		synctest.Wait()
		if line := w.lines()[0]; line["status"] != 499.0 || line["level"] != "DEBUG" {
			t.Errorf("log line %v", line)
		}
		s.stop()
	})
}

// No time-out of the server's cuts a stream that says little, over either version of HTTP.
func TestStreamOutlivesTheTimeouts(t *testing.T) {
	for _, version := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ended := w.beating()
			s := &server{w: w, accept: make(chan net.Conn), ended: make(chan error, 1)}
			s.http = httpapi.NewServer(w.start(), testlog.New(t))
			s.http.Protocols.SetUnencryptedHTTP2(true)
			go func() { s.ended <- s.http.Serve(s) }()
			transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(), nil }, Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(version == 1)
			transport.Protocols.SetUnencryptedHTTP2(version == 2)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://h"+streamPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+appToken)
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.ProtoMajor != version {
				t.Fatalf("HTTP/%d, want HTTP/%d", res.ProtoMajor, version)
			}
			in := bufio.NewScanner(res.Body)
			for beats := 0; beats < 50; {
				if !in.Scan() {
					t.Fatalf("HTTP/%d: the stream ended after %d beats: %v", version, beats, in.Err())
				}
				if in.Text() == ":" {
					beats++
				}
			}
			leave()
			if after := <-ended; after > 13*time.Minute {
				t.Errorf("HTTP/%d: it took until %v to see that the client had left", version, after)
			}
			_ = res.Body.Close()
			transport.CloseIdleConnections()
			s.stop()
		})
	}
}
