package sim

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Callback is one callback that was sent.
type Callback struct {
	Name    string            `json:"name"` // notify, call-event, group-call-event, agent-call-status
	SentAt  time.Time         `json:"sent_at"`
	Latency time.Duration     `json:"latency_ns"`
	Status  int               `json:"status"`          // HTTP status; 0 without an answer
	Err     string            `json:"error,omitempty"` // without the URL, which is a secret
	Params  []planet.RawParam `json:"-"`               // as sent, with cc_param
	Body    string            `json:"-"`               // the answer's first 4 KiB
}

// OK reports whether the app server took the callback.
func (c Callback) OK() bool { return c.Status >= 200 && c.Status < 300 }

// Addresses of the callers and callees: TEST-NET-1 of RFC 5737.
const (
	callerAddress = "192.0.2.1"
	calleeAddress = "192.0.2.2"
)

// notify sends Notify and its duplicates, and reports whether the app server took the
// original.
func (c *Call) notify(ctx context.Context) bool {
	r := c.request
	params := []planet.RawParam{ // in the order of the documented example
		{Name: "from_user_id", Value: r.Caller.UserID},
		{Name: "from_service_id", Value: r.Caller.ServiceID},
		{Name: "to_user_id", Value: r.Callee.UserID},
		{Name: "to_service_id", Value: r.Callee.ServiceID},
		{Name: "sid", Value: string(c.report.SessionID)},
		{Name: "type", Value: string(r.Type)},
	}
	if r.AppServerData != "" {
		params = append(params,
			planet.RawParam{Name: "stid", Value: r.AppServerData},
			planet.RawParam{Name: "app_svr_data", Value: r.AppServerData})
	}
	params = append(params, planet.RawParam{Name: "param", Value: c.ccParam})
	if r.Plan.EditNotify != nil {
		params = r.Plan.EditNotify(params)
	}
	copies := r.Plan.Duplicates
	if c.cloud.chance(c.cloud.o.DuplicateShare) {
		copies++
	}
	sent := make([]Callback, 1+copies)
	var wg sync.WaitGroup
	for i := range sent {
		p := params
		if i > 0 && r.Plan.UpperCase {
			p = upperSID(params)
		}
		wg.Go(func() { sent[i] = c.cloud.send(ctx, c.project, "notify", p, r.Plan.EditQuery) })
	}
	wg.Wait()
	c.mu.Lock()
	c.report.Notifies = sent
	c.mu.Unlock()
	c.event(EventCallback, sent[0].Latency, describe(sent[0]))
	return sent[0].OK()
}

// upperSID returns a copy with the session ID in upper case.
func upperSID(params []planet.RawParam) []planet.RawParam {
	out := make([]planet.RawParam, len(params))
	for i, p := range params {
		if p.Name == "sid" {
			p.Value = strings.ToUpper(p.Value)
		}
		out[i] = p
	}
	return out
}

// sendEvent sends the Call Event, now and then twice.
func (c *Call) sendEvent(ctx context.Context, rel release) {
	params := c.eventParams(rel)
	if edit := c.request.Plan.EditEvent; edit != nil {
		params = edit(params)
	}
	sent := []Callback{c.cloud.send(ctx, c.project, "call-event", params, nil)}
	if c.cloud.chance(c.cloud.o.DuplicateShare) {
		sent = append(sent, c.cloud.send(ctx, c.project, "call-event", params, nil))
	}
	c.mu.Lock()
	c.report.Events = sent
	c.mu.Unlock()
	c.event(EventCallback, sent[0].Latency, describe(sent[0]))
}

// eventParams returns the parameters of docs/line-planet.md 3.2.
func (c *Call) eventParams(rel release) []planet.RawParam {
	r, report := c.request, c.Report()
	start, duration, billing, dstip := int64(0), int64(0), int64(0), ""
	end := report.EndedAt.Unix()
	if !report.ConnectedAt.IsZero() {
		start, dstip = report.ConnectedAt.Unix(), calleeAddress
		duration = end - start
		billing = (report.EndedAt.Sub(report.ConnectedAt).Milliseconds() + 999) / 1000 // rounded up
	}
	number := func(name string, v int64) planet.RawParam {
		return planet.RawParam{Name: name, Value: strconv.FormatInt(v, 10)}
	}
	params := []planet.RawParam{
		{Name: "sid", Value: string(report.SessionID)},
		{Name: "from_service_id", Value: r.Caller.ServiceID},
		{Name: "from_user_id", Value: r.Caller.UserID},
		{Name: "to_service_id", Value: r.Callee.ServiceID},
		{Name: "to_user_id", Value: r.Callee.UserID},
		{Name: "type", Value: string(r.Type)},
		number("setup_time", report.SetupAt.Unix()),
		number("start_time", start),
		number("end_time", end),
		number("duration", duration),
		{Name: "srcip", Value: callerAddress},
		{Name: "dstip", Value: dstip},
		number("terminate", int64(rel.terminate)),
		number("rel_code", int64(rel.code)),
		{Name: "rel_code_str", Value: rel.codeName},
		number("billing_sec", billing),
		number("disconnect_reason", int64(rel.reason)),
		number("releaser_type", int64(rel.releaser)),
	}
	if r.AppServerData != "" {
		params = append(params,
			planet.RawParam{Name: "stid", Value: r.AppServerData},
			planet.RawParam{Name: "app_svr_data", Value: r.AppServerData})
	}
	return params
}

// send sends one callback. The context and the timeout bound it.
func (c *Cloud) send(ctx context.Context, p Project, name string, params []planet.RawParam, edit func(string) string) Callback {
	out := Callback{Name: name, Params: params}
	if c.chance(c.o.ReorderShare) {
		if err := c.clock.Wait(ctx, c.jitter(c.o.ReorderDelay)); err != nil {
			out.Err = "the cloud was closed"
			return out
		}
	}
	query := encodeQuery(params)
	if edit != nil {
		query = edit(query)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	out.SentAt = c.clock.Now()
	status, body, err := c.fetch(ctx, p.CallbackURL+"/"+name+"?"+query)
	out.Latency, out.Status, out.Body = c.clock.Now().Sub(out.SentAt), status, body
	if err != nil {
		out.Err = withoutURL(err)
	}
	return out
}

// fetch does the request; redirects are not followed.
func (c *Cloud) fetch(ctx context.Context, target string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	client := *c.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode, string(b), err
}

// withoutURL returns the error's text without the callback URL.
func withoutURL(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// encodeQuery encodes parameters in their order, a space as %20.
func encodeQuery(params []planet.RawParam) string {
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.Name + "=" + strings.ReplaceAll(url.QueryEscape(p.Value), "+", "%20"))
	}
	return b.String()
}

// describe is the line that people read.
func describe(c Callback) string {
	if c.Err != "" {
		return fmt.Sprintf("%s failed: %s", c.Name, c.Err)
	}
	return fmt.Sprintf("%s was answered %d", c.Name, c.Status)
}

// newCCParam makes a cc_param: standard base64 of the JSON shape of docs/line-planet.md 3.1,
// with the session ID in upper case, and always with '+' and '/' in it, so that whoever
// mangles them is found out.
func newCCParam(sid, callType string) string {
	comm, _ := json.Marshal(map[string]any{"mpkey": randomHex(24), "ctm": 3000, "ict": 6000}) // cannot fail
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(struct { // cannot fail
		CallFlowType string `json:"callFlowType"`
		VoipAddress  string `json:"voipAddress"`
		VoipTCPPort  int    `json:"voipTcpPort"`
		VoipUDPPort  int    `json:"voipUdpPort"`
		FromZone     string `json:"fromZone"` // three in a row: one is the last of its triple
		ToZone       string `json:"toZone"`
		CallType     string `json:"callType"`
		ToToken      string `json:"toToken"`
		SID          string `json:"sid"`
		CommParam    string `json:"commParam"`
	}{"M", callerAddress, 10001, 10001, ">>>", "???", callType, randomHex(16), strings.ToUpper(sid), string(comm)})
	return base64.StdEncoding.EncodeToString(bytes.TrimSpace(b.Bytes()))
}
