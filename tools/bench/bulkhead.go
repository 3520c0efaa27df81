package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/planet"
)

const (
	bulkheadRate  = 200 // calls a second
	bulkheadUsers = 200 // each with one iOS, one Android and one polling device
)

// bulkheads are the states of APNs under which the other routes are measured.
var bulkheads = []struct {
	name   string
	faults []sim.Fault
}{
	{"well", nil},
	{"black-holed", []sim.Fault{{Kind: sim.FaultSilence}}},
	{"answers after 20 s", []sim.Fault{{Kind: sim.FaultSlow, Delay: 20 * time.Second}}},
	{"answers 503", []sim.Fault{{Kind: sim.FaultUnavailable}}},
}

// bulkheadFigure is one state's latencies, Notify to arrival, and how many APNs accepted.
type bulkheadFigure struct {
	fcm, poll quantiles
	accepted  uint64
}

func (f bulkheadFigure) String() string {
	return fmt.Sprintf("FCM p50 %s p99 %s  long poll p50 %s p99 %s", round(f.fcm.p50), round(f.fcm.p99), round(f.poll.p50), round(f.poll.p99))
}

// bulkheadResults are the figures of all rounds, by the name of the state.
type bulkheadResults map[string][]bulkheadFigure

// measureBulkheads measures every state once, each with a server of its own: what hangs
// in one must not be left over in the next. Each round begins with another state, because
// the first of a process pays for what is done once.
func measureBulkheads(ctx context.Context, set settings, results bulkheadResults) error {
	round := len(results[bulkheads[0].name])
	for i := range bulkheads {
		b := bulkheads[(i+round)%len(bulkheads)]
		f, err := measureBulkhead(ctx, set, b.faults)
		if err != nil {
			return fmt.Errorf("bulkhead, APNs %s: %w", b.name, err)
		}
		results[b.name] = append(results[b.name], f)
		fmt.Fprintf(os.Stderr, "  bulkhead, APNs %-20s %s\n", b.name, f)
	}
	return nil
}

func measureBulkhead(ctx context.Context, set settings, faults []sim.Fault) (f bulkheadFigure, err error) {
	dir, err := os.MkdirTemp(set.folder, "bulkhead-")
	if err != nil {
		return f, err
	}
	st, err := stage.New(ctx, stage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Version: "bench", Change: func(c *config.Config, _ sim.Settings) {
		c.ShutdownTimeout = 5 * time.Second // what hangs is not waited for
	}})
	if err != nil {
		return f, err
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &household{stage: st, client: newClient()}
	h.client.Timeout = 0 // polls wait for long
	defer func() {
		cancel()
		h.polling.Wait()
		h.client.CloseIdleConnections()
		err = errors.Join(err, st.Close())
	}()
	if err := h.settle(ctx); err != nil {
		return f, err
	}
	before := st.World.Production.Stats().Accepted
	for _, fault := range faults {
		if err := st.World.AddFault("apns-production", fault); err != nil {
			return f, err
		}
	}
	var t times
	err = openLoop(ctx, bulkheadRate, set.length, func(number int, planned time.Time) error {
		return h.call(ctx, &t, number%bulkheadUsers, planned)
	})
	f.fcm, f.poll = quantilesOf(t.pushes), quantilesOf(t.answers)
	f.accepted = st.World.Production.Stats().Accepted - before
	return f, err
}

// household is the users of one measurement.
type household struct {
	stage   *stage.Stage
	client  *http.Client
	users   []*member
	polling sync.WaitGroup
	next    atomic.Int64 // number of the last call
}

// member is a user. Its calls come one after another.
type member struct {
	mu         sync.Mutex
	apns       chan struct{}
	fcm, polls chan time.Time
}

// settle registers all devices and rings each once: the first accepted push of a device
// writes that its APNs server is confirmed, once in its life.
func (h *household) settle(ctx context.Context) error {
	for i := range bulkheadUsers {
		if err := h.add(ctx, i); err != nil {
			return err
		}
	}
	var warm times
	return openLoop(ctx, bulkheadRate, bulkheadUsers*time.Second/bulkheadRate, func(number int, planned time.Time) error {
		if err := h.call(ctx, &warm, number, planned); err != nil {
			return fmt.Errorf("the first ring of all devices: %w", err)
		}
		return await(h.users[number].apns, "the push by APNs of a device's first ring never came", new(struct{}))
	})
}

// add makes a user with three devices.
func (h *household) add(ctx context.Context, i int) error {
	m := &member{apns: make(chan struct{}, 1), fcm: make(chan time.Time, 1), polls: make(chan time.Time, 1)}
	h.users = append(h.users, m)
	phone, err := h.stage.World.AddPhone(ctx, sim.PhoneRequest{UserID: userID(i), DisplayName: userID(i), Kind: sim.AndroidLP, Name: userID(i)})
	if err != nil {
		return err
	}
	phone.StopPolling()
	ios, android := fmt.Sprintf("%064x", i+1), fmt.Sprintf("bench-%d:%0140x", i, i+1)
	h.stage.World.Production.Register(ios, h.stage.Config.Projects[0].APNs[0].BundleID+".voip", func(sim.APNsPush) {
		select {
		case m.apns <- struct{}{}:
		default: // only the first is waited for
		}
	})
	h.stage.World.FCM.Register(android, func(message sim.FCMMessage) { m.fcm <- message.At })
	err = errors.Join(
		h.register(ctx, map[string]string{"user_id": userID(i), "channel": string(bell.APNsVoIP), "push_token": ios, "apns_server": string(bell.APNsProduction)}),
		h.register(ctx, map[string]string{"user_id": userID(i), "channel": string(bell.FCM), "push_token": android}),
	)
	token := phone.AppToken()
	h.polling.Go(func() { h.poll(ctx, m, token) })
	return err
}

func (h *household) register(ctx context.Context, device map[string]string) error {
	device["project"] = h.stage.Config.Projects[0].Name
	return addDevice(ctx, h.client, h.stage.App.AdminURL(), h.stage.Config.Admin.Token, device)
}

// poll asks for calls until ctx ends.
func (h *household) poll(ctx context.Context, m *member, token planet.Secret) {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.stage.App.PublicURL()+"/v2/notification/lp", nil)
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		resp, err := h.client.Do(req)
		if err != nil {
			return // the measurement misses the calls
		}
		now := time.Now()
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			m.polls <- now
		}
	}
}

// call places a call for a user, and waits until it has come by FCM and by the poll.
func (h *household) call(ctx context.Context, t *times, user int, planned time.Time) error {
	m := h.users[user]
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &h.stage.Config.Projects[0]
	q := url.Values{
		"sid": {fmt.Sprintf("00000000-0000-4000-8000-%012x", h.next.Add(1))}, "from_service_id": {p.ServiceID}, "from_user_id": {"caller"},
		"to_service_id": {p.ServiceID}, "to_user_id": {userID(user)}, "type": {"A"}, "param": {param},
	}
	if err := get(ctx, h.client, h.stage.App.PublicURL()+"/cb/"+p.CallbackSecret.Reveal()+"/notify?"+q.Encode()); err != nil {
		return err
	}
	var byFCM, byPoll time.Time
	if err := await(m.fcm, "a call was accepted and its push by FCM never came", &byFCM); err != nil {
		return err
	}
	if err := await(m.polls, "a call was accepted and no poll got it", &byPoll); err != nil {
		return err
	}
	t.add(byPoll.Sub(planned), byFCM.Sub(planned))
	return nil
}

// await takes what arrives, and fails after 10 seconds.
func await[T any](from <-chan T, missing string, into *T) error {
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case *into = <-from:
		return nil
	case <-timeout.C:
		return errors.New(missing)
	}
}

// addDevice adds a device through the admin API.
func addDevice(ctx context.Context, client *http.Client, admin string, token planet.Secret, device map[string]string) error {
	body, err := json.Marshal(device)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, admin+"/admin/v1/devices", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	if resp.StatusCode >= 300 {
		return fmt.Errorf("add a device: %s: %s", resp.Status, text)
	}
	return nil
}

// median is the middle round of a state, by the two p99.
func (r bulkheadResults) median(name string) bulkheadFigure {
	all := slices.SortedFunc(slices.Values(r[name]), func(a, b bulkheadFigure) int {
		return int(a.fcm.p99 + a.poll.p99 - b.fcm.p99 - b.poll.p99)
	})
	return all[len(all)/2]
}

// print writes the middle round of each state.
func (r bulkheadResults) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nbulkheads: Notify to arrival, %d calls/s\n", bulkheadRate)
	fmt.Fprintln(w, "APNs\tFCM p50\tFCM p99\tlong poll p50\tlong poll p99\tAPNs accepted\t")
	for _, b := range bulkheads {
		f := r.median(b.name)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t\n", b.name, round(f.fcm.p50), round(f.fcm.p99), round(f.poll.p50), round(f.poll.p99), f.accepted)
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
}
