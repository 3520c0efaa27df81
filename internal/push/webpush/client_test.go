package webpush

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// service is a push service that takes everything, and a client of it.
type service struct {
	server  *pushtest.Server
	client  *Client
	browser browser
}

func newService(t *testing.T, change func(*Config)) *service {
	t.Helper()
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Log: testlog.New(t)}, change)
	return &service{server, c, newBrowser(t)}
}

// ring rings a browser, and returns what the page would get, and the request.
func (s *service) ring(t *testing.T, change func(*bell.Ring)) (map[string]string, pushtest.Request) {
	t.Helper()
	ring := pushtest.Ring(bell.WebPush, pushToken)
	if change != nil {
		change(ring)
	}
	o := at{s.client, s.server.URL, s.browser}.Send(t.Context(), ring, delivery.Try{Number: 1, Now: ring.Call.NotifiedAt})
	if o.Verdict != bell.Accepted {
		t.Fatalf("%+v", o)
	}
	r := s.server.Last(t)
	fields, err := s.browser.fields(r.Body)
	if err != nil {
		t.Fatalf("the browser cannot read it: %v", err)
	}
	return fields, r
}

var milliseconds = regexp.MustCompile(`"1[0-9]{12}"`)

// TestGolden is one whole request, its body as the browser reads it.
func TestGolden(t *testing.T) {
	s := newService(t, nil)
	_, r := s.ring(t, nil)
	if r.Method != http.MethodPost || len(r.Body) != 2048 {
		t.Errorf("%s of %d bytes", r.Method, len(r.Body))
	}
	text, err := s.browser.read(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	claims := opened(t, r.Header.Get("Authorization"))
	if claims["aud"] != s.server.URL {
		t.Errorf("the token is for %v", claims["aud"])
	}
	got := pushtest.Render(r.Path, r.Header, text, func(name, value string) string {
		switch name {
		case "authorization":
			return regexp.MustCompile(`t=[^,]+`).ReplaceAllString(value, "t=<token>")
		case "":
			return milliseconds.ReplaceAllString(value, `"<time>"`)
		}
		return value
	})
	pushtest.Golden(t, "call.txt", got, *update)
}

// What may be kept by the push service, and how urgent it is, by what it tells.
func TestTimesAndUrgency(t *testing.T) {
	s := newService(t, nil)
	topics := map[string]bool{}
	for name, test := range map[string]struct {
		change       func(*bell.Ring)
		ttl, urgency string
	}{
		"a call":               {nil, "40", "high"},
		"a call that was half": {func(r *bell.Ring) { r.Delivery.Deadline = r.Call.NotifiedAt.Add(7900 * time.Millisecond) }, "7", "high"},
		"at its last moment":   {func(r *bell.Ring) { r.Delivery.Deadline = r.Call.NotifiedAt.Add(time.Millisecond) }, "1", "high"},
		"too late":             {func(r *bell.Ring) { r.Delivery.Deadline = r.Call.NotifiedAt.Add(-time.Hour) }, "1", "high"},
		"a missed call":        {func(r *bell.Ring) { r.Call.Purpose, r.Call.CCParam = bell.PurposeMissedCall, "" }, "86400", "normal"},
		"an invitation":        {func(r *bell.Ring) { r.Call.Purpose, r.Call.CCParam = bell.PurposeInvitation, "" }, "40", "high"},
		"for ever":             {func(r *bell.Ring) { r.Delivery.Deadline = r.Call.NotifiedAt.AddDate(1, 0, 0) }, "2419200", "high"},
	} {
		id := planet.SessionID("sid-" + strings.ReplaceAll(name, " ", "-"))
		fields, r := s.ring(t, func(r *bell.Ring) {
			r.Call.SessionID = id
			if test.change != nil {
				test.change(r)
			}
		})
		if r.Header.Get("Ttl") != test.ttl || r.Header.Get("Urgency") != test.urgency {
			t.Errorf("%s: ttl %s, urgency %s; want %s, %s", name, r.Header.Get("Ttl"), r.Header.Get("Urgency"), test.ttl, test.urgency)
		}
		topic := r.Header.Get("Topic")
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{32}$`).MatchString(topic) || topics[topic] || strings.Contains(topic, string(id)) {
			t.Errorf("%s: topic %q", name, topic)
		}
		topics[topic] = true
		_, isCall := fields["cc_param"]
		if isCall != (fields["app_event"] == "") {
			t.Errorf("%s: %v", name, fields)
		}
	}
	_, first := s.ring(t, nil)
	_, second := s.ring(t, func(r *bell.Ring) { r.Call.SessionID = planet.SessionID(strings.ToUpper(string(r.Call.SessionID))) })
	if first.Header.Get("Topic") != second.Header.Get("Topic") {
		t.Error("a retry of the same call has another topic")
	}
	if first.Header.Get("Authorization") != second.Header.Get("Authorization") {
		t.Error("a token was made for each message")
	}
	if string(first.Body[:86]) == string(second.Body[:86]) {
		t.Error("salt and key of a message are used again")
	}
}

// What a device can do without is left out of a message that is too large, and cc_param never.
func TestLargeMessages(t *testing.T) {
	s := newService(t, nil)
	fields, r := s.ring(t, func(r *bell.Ring) {
		r.Call.CCParam = planet.CCParam(testlog.CCParam(7) + strings.Repeat("a", 1100))
		r.Call.AppServerData = strings.Repeat(`"<>`, 200)
		r.Call.AppFields = map[string]string{"app_large": strings.Repeat("x", 800)}
	})
	if len(r.Body) != 2048 || len(fields["cc_param"]) < 1100 || fields["app_large"] != "" || fields["app_session_id"] == "" {
		t.Errorf("%d bytes, fields %d", len(r.Body), len(fields))
	}
	ring := pushtest.Ring(bell.WebPush, pushToken)
	ring.Call.CCParam = planet.CCParam(testlog.CCParam(7) + strings.Repeat("a", 3000))
	o := at{s.client, s.server.URL, s.browser}.Send(t.Context(), ring, delivery.Try{Number: 1})
	if o.Verdict != bell.Rejected || o.Reason != reasonTooLarge || !o.Unsent || o.Alarm != bell.AlarmBug || o.Token != bell.TokenKeep {
		t.Errorf("%+v", o)
	}
}

// Keys that an older release did not write are not the push service's fault, nor proof.
func TestKeysAreMissing(t *testing.T) {
	s := newService(t, nil)
	ring := pushtest.Ring(bell.WebPush, planet.Secret(s.server.URL+"/x"))
	o := s.client.Send(t.Context(), ring, delivery.Try{Number: 1})
	if o.Verdict != bell.Rejected || o.Reason != reasonKeys || o.Token != bell.TokenKeep || !o.Unsent || len(s.server.Requests()) != 0 {
		t.Errorf("%+v", o)
	}
}

// TestOneServiceHangs: messages to it do not take the places of others.
func TestOneServiceHangs(t *testing.T) {
	release := make(chan struct{})
	slow := pushtest.NewServer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	well := pushtest.NewServer(t, accept)
	roots := slow.Roots // httptest has one certificate for all
	c := newClient(t, pushtest.Target{URL: slow.URL, Roots: roots, Timeout: time.Second, Log: testlog.New(t)}, func(cfg *Config) {
		cfg.Hosts, cfg.MaxInFlight = append(cfg.Hosts, hostsOf(t, well.URL)...), 1
	})
	var group sync.WaitGroup
	var mu sync.Mutex
	reasons := map[string]int{}
	for range 3 {
		group.Go(func() {
			o := send(t, c, slow.URL+"/x")
			mu.Lock()
			defer mu.Unlock()
			reasons[o.Reason]++
			if o.Unsent != (o.Reason == reasonBusy) {
				t.Errorf("%+v", o)
			}
		})
	}
	if o := send(t, c, well.URL+"/x"); o.Verdict != bell.Accepted {
		t.Errorf("the other service: %+v", o)
	}
	group.Wait()
	close(release)
	// One that waited may get the place in the moment in which its time is up.
	if reasons[reasonTimeout] == 0 || reasons[reasonBusy]+reasons[reasonTimeout] != 3 {
		t.Errorf("reasons %v", reasons)
	}
}

// An answer that breaks off proves nothing about the subscription, unless its reason came whole.
func TestAnswersThatBreakOff(t *testing.T) {
	const whole = `{"code":410,"errno":106}`
	for name, test := range map[string]struct {
		status  int
		body    string
		verdict bell.Verdict
		reason  string
		token   bell.TokenAction
	}{
		"half of the path's fault": {404, `{"reason":"BadP`, bell.RetryConnect, reasonReset, bell.TokenKeep},
		"nothing of a 410":         {410, "", bell.RetryConnect, reasonReset, bell.TokenKeep},
		"half of a bad request":    {400, `{"reason":"IdleT`, bell.RetryConnect, reasonReset, bell.TokenKeep},
		"a whole reason":           {410, whole, bell.Rejected, "errno_106", bell.TokenDrop},
		"half of a 503":            {503, `{"reason":"Serv`, bell.RetryBackoff, "http_503", bell.TokenKeep},
		"half of a 201":            {201, "{", bell.Accepted, "", bell.TokenKeep},
	} {
		t.Run(name, func(t *testing.T) {
			server := pushtest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Log: testlog.New(t)}, nil)
			o := send(t, c, server.URL+"/x")
			if o.Verdict != test.verdict || o.Reason != test.reason || o.Token != test.token || o.Unsent {
				t.Errorf("%+v, want %s, %q, %s", o, test.verdict, test.reason, test.token)
			}
		})
	}
	if got := brokenReason(io.ErrUnexpectedEOF); got != reasonLost {
		t.Errorf("a connection that broke within an answer: %s", got)
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	good := Config{Key: testKey(t), Subject: subject, Hosts: push(t, "push.example.com")}
	for name, spoil := range map[string]func(*Config){
		"no key":               func(c *Config) { c.Key = bell.VAPIDKey{} },
		"no subject":           func(c *Config) { c.Subject = "" },
		"a subject of nobody":  func(c *Config) { c.Subject = "mailto:ops@localhost" },
		"no push service":      func(c *Config) { c.Hosts = nil },
		"negative":             func(c *Config) { c.MaxInFlight = -1 },
		"negative time":        func(c *Config) { c.AttemptTimeout = -1 },
		"too many connections": func(c *Config) { c.Connections = 21 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := NewClient(cfg); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%s: error %v", name, err)
		}
	}
	c, err := NewClient(good)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Key() != good.Key.Public() || c.Warm(t.Context()) != nil {
		t.Error("the client has another key, or is not ready")
	}
}

func TestEveryReasonHasARule(t *testing.T) {
	for reason, r := range transportRules {
		if o := unanswered(reason); o.Verdict == "" || o.Token != bell.TokenKeep || o.Detail == "" || len(o.Detail) > 200 || o.Reason != reason {
			t.Errorf("%s: %+v", reason, r)
		}
	}
	for err, want := range map[error]string{
		fmt.Errorf("dial: %w", egress.ErrNotPublic):      reasonAddress,
		errors.New("http2: server sent GOAWAY and more"): reasonGoAway,
		errors.New("anything"):                           reasonLost,
	} {
		if got := exchangeReason(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	s := newService(t, func(cfg *Config) { cfg.Metrics = metrics })
	s.ring(t, nil)
	metrics.ended(s.client)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(families)
	testlog.Keep(t, "metrics", text)
	for _, name := range []string{"planetbell_provider_connections", "planetbell_provider_credential_age_seconds", "planetbell_provider_goaway_total", "planetbell_provider_clock_skew_seconds"} {
		if !strings.Contains(text, name) {
			t.Errorf("the metric %s is missing", name)
		}
	}
	s.client.Close()
	if n := testutil.CollectAndCount(metrics, "planetbell_provider_connections"); n != 0 {
		t.Errorf("a closed client still has %d connection metrics", n)
	}
	if n := s.client.conns.Count(); n != 0 {
		t.Errorf("%d connections are left open", n)
	}
}

func FuzzClassify(f *testing.F) {
	for _, a := range answers() {
		f.Add(a.Status, []byte(a.Body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		o := classify(status, body)
		if o.Verdict == "" || o.Token == "" || len(o.Reason) > 64 || len(o.Detail) > 200 || o.ProviderID != "" {
			t.Errorf("outcome %+v", o)
		}
		if o.Token == bell.TokenDrop && status != http.StatusNotFound && status != http.StatusGone {
			t.Errorf("a subscription is dropped without proof: %+v", o)
		}
	})
}
