package sim

import (
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// redirected begins the paths to which [FaultRedirect] sends.
const redirected = "/redirected"

// ServeHTTP takes one push, and everything else that is sent here.
func (p *WebPush) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := streamOf(r)
	surplus, leave := st.enter()
	if surplus {
		st.reset(codeRefused)
	}
	defer leave()
	s := p.faults.strike(r, st)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client gave up
	}
	st.commit()
	if strings.HasPrefix(r.URL.Path, redirected) {
		p.followed.Add(1)
	}
	q := &pushRequest{Request: r, body: body}
	number := p.requests.Add(1)
	p.mu.Lock()
	q.to = p.paths[r.URL.RequestURI()]
	script := p.script
	p.mu.Unlock()
	if s == nil && script != nil {
		s = script(WebPushRequest{Subscription: q.id(), Header: r.Header, Body: body, Number: number})
	}
	if s == nil {
		s = &Answer{}
	}
	w, end := s.dripping(w, r, p.clock)
	defer end()
	p.answer(w, q, s)
}

// pushRequest is one push on its way through the checks.
type pushRequest struct {
	*http.Request
	body []byte
	to   *pushSubscription // nil for a path of no subscription
}

func (q *pushRequest) id() string {
	if q.to == nil {
		return ""
	}
	return q.to.id
}

func (q *pushRequest) profile(otherwise PushProfile) PushProfile {
	if q.to == nil {
		return otherwise
	}
	return q.to.profile
}

// answer follows the script, and judges the push unless the script answers.
func (p *WebPush) answer(w http.ResponseWriter, q *pushRequest, s *Answer) {
	if p.clock.Wait(q.Context(), s.Delay) != nil {
		return
	}
	if s.Deliver {
		if m, refused := p.judge(q); refused == nil {
			p.record(q, m)
			p.hand(q.to, *m)
		}
	}
	profile := q.profile(p.o.Profile)
	if s.fault(w, q.Request) {
		p.reject(q, refusal(refusedScript, "scripted body"), s.Status)
		return
	}
	if s.Status >= 200 && s.Status < 300 {
		p.created(w, s.Status, 0)
		return
	}
	if s.Status != 0 {
		words := scripted(s.Status).replaced(s.Reason)
		p.reject(q, refusal(refusedScript, "scripted"), s.Status)
		words.answer(w, profile, "scripted")
		return
	}
	m, refused := p.judge(q)
	if refused != nil {
		words := refusals[refused.what]
		p.reject(q, refused, words.status(profile))
		words.answer(w, profile, refused.why)
		return
	}
	if !s.Deliver { // whoever has the answer finds the message on record
		p.record(q, m)
	}
	p.created(w, http.StatusCreated, m.TTL)
	_ = http.NewResponseController(w).Flush() // the browser may hear of it after the sender
	if !s.Deliver {
		p.hand(q.to, *m)
	}
}

// created answers that the push is taken (RFC 8030 section 5).
func (p *WebPush) created(w http.ResponseWriter, status int, ttl time.Duration) {
	w.Header().Set("Location", p.URL()+"/m/"+randomHex(16))
	w.Header().Set("TTL", strconv.Itoa(int(ttl/time.Second)))
	w.WriteHeader(status)
}

// record keeps an accepted message, and counts its token.
func (p *WebPush) record(q *pushRequest, m *WebPushMessage) {
	p.messages.add(*m)
	p.mu.Lock()
	defer p.mu.Unlock()
	if v, refused := parseVAPID(q.Header); refused == nil && len(p.tokens) < defaultRecent {
		p.tokens[sha256.Sum256([]byte(v.token))] = struct{}{}
	}
}

// reject records a refusal.
func (p *WebPush) reject(q *pushRequest, r *pushRefusal, status int) {
	p.mu.Lock()
	p.rejected[string(r.what)]++
	p.mu.Unlock()
	p.rejections.add(WebPushRejection{At: p.clock.Now(), Subscription: q.id(), Status: status, Code: string(r.what), Why: r.why})
}

// hand gives an accepted message to the browser, or lets it wait for one that is away.
func (p *WebPush) hand(s *pushSubscription, m WebPushMessage) {
	if p.o.OnMessage != nil {
		p.o.OnMessage(m)
	}
	p.mu.Lock()
	away := s.offline
	if away {
		p.keep(s, m)
	}
	p.mu.Unlock()
	if !away {
		p.give(s, m)
	}
}

// keep lets a message wait, in the place of one with its topic (RFC 8030 section 5.4). The
// caller holds mu.
func (p *WebPush) keep(s *pushSubscription, m WebPushMessage) {
	p.expire(s)
	if m.Topic != "" {
		s.waiting = slices.DeleteFunc(s.waiting, func(w waitingPush) bool {
			same := w.Topic == m.Topic
			if same {
				p.replaced++
			}
			return same
		})
	}
	if s.waiting = append(s.waiting, waitingPush{m, m.At.Add(m.TTL)}); len(s.waiting) > maxWaiting {
		s.waiting = slices.Delete(s.waiting, 0, 1)
		p.expired++
	}
	p.expire(s) // a TTL of 0 is for a browser that is there
}

// give calls the browser.
func (p *WebPush) give(s *pushSubscription, m WebPushMessage) {
	p.delivered.Add(1)
	if s.onPush != nil {
		s.onPush(m)
	}
}
