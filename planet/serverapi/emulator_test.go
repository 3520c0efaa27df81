package serverapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// callbackTaker is an app server that takes every callback.
var callbackTaker = inProcess{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}

var emulatorCA = sync.OnceValues(sim.NewCA)

// newEmulator returns the strict emulator of the Server API with a room in which bob and
// alice are.
func newEmulator(t *testing.T, ca *sim.CA) (*sim.ServerAPI, *sim.Room) {
	t.Helper()
	cloud := sim.NewCloud(sim.CloudOptions{Client: &http.Client{Transport: callbackTaker}})
	t.Cleanup(cloud.Close)
	err := cloud.AddProject(sim.Project{ServiceID: service, CallbackURL: "http://127.0.0.1:1/cb/x", APIKey: apiKey, APISecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	user := func(id string) sim.Participant {
		return sim.Participant{User: planet.UserRef{ServiceID: service, UserID: id}}
	}
	opened, _, err := cloud.OpenRoom(t.Context(), planet.RoomRef{ServiceID: service, RoomID: room.RoomID}, user("alice"), planet.AudioCall)
	if err != nil {
		t.Fatal(err)
	}
	opened.Join(t.Context(), user("bob"))
	return sim.NewServerAPI(sim.ServerAPIOptions{Cloud: cloud, CA: ca}), opened
}

// wireEmulator is newEmulator with what [overTheWire] needs.
func wireEmulator(t *testing.T) (*sim.ServerAPI, *sim.Room) {
	t.Helper()
	ca, err := emulatorCA()
	if err != nil {
		t.Fatal(err)
	}
	return newEmulator(t, ca)
}

// LINE Planet takes 100 requests in a second from one key. Five hundred at once get through
// one after the other, and none is refused.
func TestRateIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, opened := newEmulator(t, nil)
		shared := serverapi.NewLimiter(serverapi.DefaultRate)
		clients := []*serverapi.Client{ // of one key
			newClient(t, inProcess{api}, func(c *serverapi.Config) { c.Limiter = shared }),
			newClient(t, inProcess{api}, func(c *serverapi.Config) { c.Limiter = shared }),
		}
		const n = 500
		start := time.Now()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if err := clients[i%2].Broadcast(t.Context(), room, []byte("x")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		requests := api.Requests()
		if len(requests) != n || len(opened.Messages()) != n {
			t.Errorf("%d requests, %d messages", len(requests), len(opened.Messages()))
		}
		for i, r := range requests {
			if r.Status != 200 {
				t.Fatalf("request %d: %+v", i, r)
			}
			if i >= serverapi.MaxRate && r.At.Sub(requests[i-serverapi.MaxRate].At) < time.Second {
				t.Fatalf("more than %d requests in the second before request %d", serverapi.MaxRate, i)
			}
		}
		// As fast as it may be: 80 a second after the first ten.
		if d := time.Since(start); d > 6200*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// The emulator does refuse the 101st, so the test above can fail. The client comes back
// later by itself.
func TestEmulatorHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, _ := newEmulator(t, nil)
		limiter := serverapi.NewLimiter(1)
		limiter.SetLimit(1e9)
		c := newClient(t, inProcess{api}, func(c *serverapi.Config) { c.Limiter = limiter })
		for range 101 {
			if err := c.Broadcast(t.Context(), room, []byte("x")); err != nil {
				t.Error(err)
			}
		}
		refused := 0
		for _, r := range api.Requests() {
			if r.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused == 0 || api.Executed() != 101 {
			t.Errorf("%d refused, %d carried out", refused, api.Executed())
		}
	})
}

// overTheWire starts the emulator and returns clients that speak HTTP/1.1 and HTTP/2 to it.
func overTheWire(t *testing.T, api *sim.ServerAPI) map[string]func(*testing.T) *serverapi.Client {
	t.Helper()
	if err := api.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	ca, err := emulatorCA()
	if err != nil {
		t.Fatal(err)
	}
	client := func(h2 bool) func(*testing.T) *serverapi.Client {
		return func(t *testing.T) *serverapi.Client {
			tr := &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12},
				ForceAttemptHTTP2: h2,
			}
			t.Cleanup(tr.CloseIdleConnections)
			return newClient(t, tr, func(c *serverapi.Config) { c.BaseURL = api.URL() })
		}
	}
	return map[string]func(*testing.T) *serverapi.Client{"http1": client(false), "http2": client(true)}
}

// Every status of docs/line-planet.md 7.1, from the emulator's own judgement where it has one.
func TestEmulatorStatuses(t *testing.T) {
	api, opened := wireEmulator(t)
	for name, client := range overTheWire(t, api) {
		t.Run(name, func(t *testing.T) {
			c := client(t)
			other := func(change func(*serverapi.Config)) *serverapi.Client {
				ca, _ := emulatorCA()
				tr := ca.Client().Transport
				t.Cleanup(tr.(*http.Transport).CloseIdleConnections)
				return newClient(t, tr, func(c *serverapi.Config) { c.BaseURL = api.URL() }, change)
			}
			stranger := other(func(c *serverapi.Config) { c.APIKey = "unknown-key" })
			wrong := other(func(c *serverapi.Config) { c.APISecret = "wrong" })
			foreign := other(func(c *serverapi.Config) { c.ServiceID = "other-service" })
			odd := call
			odd.MediaSourceType = "LIVE"
			_, err := c.MakeAgentCall(t.Context(), odd)
			for _, row := range []struct {
				err  error
				kind error
			}{
				{c.Broadcast(t.Context(), room, []byte("hello")), nil},
				{err, serverapi.ErrBadRequest},
				{stranger.Broadcast(t.Context(), room, []byte("x")), serverapi.ErrUnauthorized},
				{wrong.KickOut(t.Context(), room, []string{"bob"}, "x"), serverapi.ErrUnauthorized},
				{foreign.Broadcast(t.Context(), room, []byte("x")), serverapi.ErrForbidden},
				{c.Broadcast(t.Context(), planet.RoomRef{RoomID: "empty"}, []byte("x")), serverapi.ErrRoomNotFound},
			} {
				if !errors.Is(row.err, row.kind) {
					t.Errorf("%v is not %v", row.err, row.kind)
				}
			}
			_, err = stranger.MakeAgentCall(t.Context(), call)
			if e := failure(t, err); e.Message != "ApiKey not found" || e.Code != "401" {
				t.Errorf("%+v", e)
			}
			for kind, want := range map[sim.FaultKind]error{
				sim.FaultServerError: serverapi.ErrServer, sim.FaultUnauthorized: serverapi.ErrUnauthorized, sim.FaultHTML: serverapi.ErrUnexpected,
			} {
				if err := api.Faults().Add(sim.Fault{Kind: kind, Count: 1}); err != nil {
					t.Fatal(err)
				}
				if err := c.Broadcast(t.Context(), room, []byte("x")); !errors.Is(err, want) {
					t.Errorf("%s: %v", kind, err)
				}
			}
			if got := opened.Messages(); got[len(got)-1].Text != "hello" || len(got[0].To) != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// No POST is sent again that may have been carried out, whatever breaks and wherever; what was
// surely not is sent again, and carried out once.
func TestNoRepeatOverTheWire(t *testing.T) {
	const (
		leave  = "leave alone"
		repeat = "repeat"
	)
	faults := []struct {
		fault sim.Fault
		want  string
	}{
		{sim.Fault{Kind: sim.FaultReset, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultClose, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultStreamError, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultGoAwayClose, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultHang, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultServerError, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultHTML, Deliver: true}, leave},
		{sim.Fault{Kind: sim.FaultHTML, Deliver: true, Status: 504}, leave},
		{sim.Fault{Kind: sim.FaultReset}, leave}, // the client cannot know that it was not
		{sim.Fault{Kind: sim.FaultUnavailable}, repeat},
		{sim.Fault{Kind: sim.FaultTooMany, RetryAfter: "0"}, repeat},
	}
	api, _ := wireEmulator(t)
	for name, client := range overTheWire(t, api) {
		for _, warm := range []bool{false, true} {
			for _, f := range faults {
				for _, op := range []string{"broadcast", "make an agent call"} {
					t.Run(name+"/"+string(f.fault.Kind)+"/"+op, func(t *testing.T) {
						t.Cleanup(func() { api.Faults().Clear() })
						c := client(t)
						if warm { // a connection is open, and the fault strikes its second request
							if err := operations[op].do(t.Context(), c); err != nil {
								t.Fatal(err)
							}
						}
						before, executed := len(api.Requests()), api.Executed()
						f.fault.Count = 1
						if err := api.Faults().Add(f.fault); err != nil {
							t.Fatal(err)
						}
						ctx := t.Context()
						if f.fault.Kind == sim.FaultHang {
							ctx = endsWhen(t, func() bool { return api.Executed() > executed })
						}
						err := operations[op].do(ctx, c)
						did, requests := api.Executed()-executed, len(api.Requests())-before
						if f.want == repeat {
							if err != nil || did != 1 || requests != 2 {
								t.Errorf("%v; carried out %d times by %d requests", err, did, requests)
							}
							return
						}
						e := failure(t, err)
						if wantDid := f.fault.Deliver; did > 1 || (did == 1) != wantDid || requests > 1 || e.Attempts != 1 || !e.MaybeExecuted {
							t.Errorf("%+v; carried out %d times by %d requests", e, did, requests)
						}
					})
				}
			}
		}
	}
}

// endsWhen returns a context that ends once the condition holds.
func endsWhen(t *testing.T, over func() bool) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !over() && !stop.Load() {
			<-tick.C
		}
		cancel()
	}()
	t.Cleanup(func() { stop.Store(true); <-done })
	return ctx
}

// A kick-out whose answer got lost is sent again: nobody is removed twice.
func TestKickOutIsRepeated(t *testing.T) {
	api, opened := wireEmulator(t)
	for name, client := range overTheWire(t, api) {
		t.Run(name, func(t *testing.T) {
			before := api.Executed()
			if err := api.Faults().Add(sim.Fault{Kind: sim.FaultReset, Deliver: true, Count: 1}); err != nil {
				t.Fatal(err)
			}
			if err := client(t).KickOut(t.Context(), room, []string{"bob"}, "Spam"); err != nil {
				t.Error(err)
			}
			if n := api.Executed() - before; n != 2 {
				t.Errorf("carried out %d times", n)
			}
		})
	}
	if got := opened.Participants(); len(got) != 1 || got[0].UserID != "alice" {
		t.Errorf("in the room: %v", got)
	}
}

// Nobody listens: nothing was sent, and nothing can have been carried out.
func TestConnectionRefused(t *testing.T) {
	api, _ := wireEmulator(t)
	for name, client := range overTheWire(t, api) {
		t.Run(name, func(t *testing.T) {
			if err := api.Faults().Add(sim.Fault{Kind: sim.FaultRefuse}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // no time for a repeat
			defer cancel()
			e := failure(t, client(t).Broadcast(ctx, room, []byte("x")))
			if !errors.Is(e, serverapi.ErrNoAnswer) || e.MaybeExecuted || !e.Retryable || e.Attempts != 1 {
				t.Errorf("%+v", e)
			}
			api.Faults().Clear()
		})
	}
}

// A redirect would take the credential elsewhere.
func TestNoRedirect(t *testing.T) {
	api, _ := wireEmulator(t)
	for name, client := range overTheWire(t, api) {
		t.Run(name, func(t *testing.T) {
			a := sim.Answer{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {api.URL() + "/elsewhere"}}}
			if err := api.Faults().Add(sim.Fault{Kind: sim.FaultAnswer, Answer: a, Count: 1}); err != nil {
				t.Fatal(err)
			}
			before := len(api.Requests())
			e := failure(t, client(t).Broadcast(t.Context(), room, []byte("x")))
			if e.Status != http.StatusTemporaryRedirect || !errors.Is(e, serverapi.ErrUnexpected) || len(api.Requests())-before != 1 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A server that cannot show a certificate gets no request, and no second chance.
func TestUntrusted(t *testing.T) {
	api, _ := wireEmulator(t)
	for name, client := range overTheWire(t, api) {
		t.Run(name, func(t *testing.T) {
			if err := api.Faults().Add(sim.Fault{Kind: sim.FaultWrongHost}); err != nil {
				t.Fatal(err)
			}
			e := failure(t, client(t).KickOut(t.Context(), room, []string{"bob"}, "x"))
			if !errors.Is(e, serverapi.ErrNoAnswer) || e.MaybeExecuted || e.Retryable || e.Attempts != 1 || len(api.Requests()) != 0 {
				t.Errorf("%+v", e)
			}
			api.Faults().Clear()
		})
	}
}
