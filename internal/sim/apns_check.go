package sim

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
)

const (
	devicePath      = "/3/device/"
	defaultRingTime = 60 * time.Second // how long LINE's SDK waits for an answer (docs/line-planet.md 1.2)
	maxPayload      = 4096             // docs/push-providers.md 1.2; exactly the limit is allowed
	maxVoIPPayload  = 5120
	maxCollapseID   = 64
)

var canonicalUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

var pushTypes = []string{
	"alert", "background", "voip", "complication", "controls", "fileprovider", "liveactivity",
	"location", "mdm", "pushtotalk", "widgets",
}

// apnsRequest is a push that is being judged.
type apnsRequest struct {
	*http.Request
	conn     *connState
	cert     *x509.Certificate // nil with a provider token
	token    string
	body     []byte
	now      time.Time
	key      APNsKey // set by the check of the signature
	provider *providerToken
	newID    string
}

// id returns the apns-id, making one when the sender gave none.
func (p *apnsRequest) id() string {
	if id := p.Header.Get("apns-id"); id != "" {
		return id
	}
	if p.newID == "" {
		p.newID = newUUID()
	}
	return p.newID
}

// topic returns the topic; a certificate for one topic stands for it.
func (p *apnsRequest) topic() string {
	topic := p.Header.Get("apns-topic")
	if topic == "" && p.cert != nil {
		if topics, _ := topicsOf(p.cert); len(topics) == 1 {
			return topics[0]
		}
	}
	return topic
}

// verdict is a refusal.
type verdict struct {
	status int
	reason string
	why    string
	at     time.Time // the timestamp of a 410
}

// body returns what APNs answers.
func (v *verdict) body() any {
	if !v.at.IsZero() {
		return map[string]any{"reason": v.reason, "timestamp": v.at.UnixMilli()}
	}
	return map[string]any{"reason": v.reason}
}

func bad(reason, why string) *verdict {
	return &verdict{status: http.StatusBadRequest, reason: reason, why: why}
}

func forbidden(reason, why string) *verdict {
	return &verdict{status: http.StatusForbidden, reason: reason, why: why}
}

// judge runs the checks of docs/push-providers.md 6.1 in their order; nil is acceptance.
func (a *APNs) judge(p *apnsRequest) *verdict {
	checks := []func(*apnsRequest) *verdict{
		checkPath, checkDuplicates, checkID, a.checkTopic, a.checkType, checkPriority,
		a.checkExpiration, checkCollapse, a.checkProvider, a.checkConnection, a.checkAllowed,
		a.checkDevice, checkBody, a.checkRate,
	}
	for _, check := range checks {
		if v := check(p); v != nil {
			return v
		}
	}
	return nil
}

func checkPath(p *apnsRequest) *verdict {
	if p.Method != http.MethodPost {
		return &verdict{status: http.StatusMethodNotAllowed, reason: "MethodNotAllowed", why: "the method is not POST"}
	}
	if !strings.HasPrefix(p.URL.Path, devicePath) {
		return &verdict{status: http.StatusNotFound, reason: "BadPath", why: "the path is not /3/device/<token>"}
	}
	if p.token == "" {
		return bad("MissingDeviceToken", "the path names no token")
	}
	if strings.Contains(p.token, "/") {
		return &verdict{status: http.StatusNotFound, reason: "BadPath", why: "the path goes on after the token"}
	}
	return nil
}

func checkDuplicates(p *apnsRequest) *verdict {
	for name, values := range p.Header {
		if len(values) > 1 && (strings.HasPrefix(name, "Apns-") || name == "Authorization") {
			return bad("DuplicateHeaders", "the header "+name+" comes twice")
		}
	}
	return nil
}

func checkID(p *apnsRequest) *verdict {
	if id, ok := p.Header["Apns-Id"]; ok && !canonicalUUID.MatchString(id[0]) {
		return bad("BadMessageId", "apns-id is not a canonical lower-case UUID")
	}
	return nil
}

func (a *APNs) checkTopic(p *apnsRequest) *verdict {
	if p.topic() == "" {
		return bad("MissingTopic", "apns-topic is missing")
	}
	return nil
}

func (a *APNs) checkType(p *apnsRequest) *verdict {
	kind := p.Header.Get("apns-push-type")
	if kind == "" && !a.o.Strict {
		return nil
	}
	if !slices.Contains(pushTypes, kind) {
		return bad("InvalidPushType", "apns-push-type is missing or unknown")
	}
	voipTopic := strings.HasSuffix(p.topic(), ".voip")
	if kind == "voip" && !voipTopic {
		return bad("DeviceTokenNotForTopic", "a voip push needs a topic that ends in .voip")
	}
	if (kind == "alert" || kind == "background") && voipTopic {
		return bad("DeviceTokenNotForTopic", "a topic that ends in .voip takes voip pushes only")
	}
	return nil
}

func checkPriority(p *apnsRequest) *verdict {
	v, ok := p.Header["Apns-Priority"]
	background := p.Header.Get("apns-push-type") == "background"
	switch {
	case !ok && !background:
		return nil // 10 is the default
	case !ok || (background && v[0] != "5"):
		return bad("BadPriority", "a background push must have priority 5")
	case v[0] != "1" && v[0] != "5" && v[0] != "10":
		return bad("BadPriority", "apns-priority is not 1, 5 or 10")
	}
	return nil
}

func (a *APNs) checkExpiration(p *apnsRequest) *verdict {
	v, ok := p.Header["Apns-Expiration"]
	if !ok {
		if a.o.Strict {
			return bad("BadExpirationDate", "call test: without apns-expiration a call is stored for up to 30 days")
		}
		return nil
	}
	at, err := strconv.ParseInt(v[0], 10, 64)
	if err != nil || at < 0 {
		return bad("BadExpirationDate", "apns-expiration is not a time in seconds")
	}
	most := a.o.RingTime
	if fields, err := clients.Texts(p.body, "aps"); err == nil && isNotice(fields) {
		most = maxNotice
	}
	if a.o.Strict && at > p.now.Add(most).Unix() {
		return bad("BadExpirationDate", "call test: apns-expiration is after the end of the ring, or a notice is kept for more than a day")
	}
	return nil
}

func checkCollapse(p *apnsRequest) *verdict {
	if len(p.Header.Get("apns-collapse-id")) > maxCollapseID {
		return bad("BadCollapseId", "apns-collapse-id is longer than 64 bytes")
	}
	return nil
}

// checkAllowed compares the topic with what the key or certificate may push.
func (a *APNs) checkAllowed(p *apnsRequest) *verdict {
	allowed := p.key.Topics
	if p.cert != nil {
		topics, ok := topicsOf(p.cert)
		if !ok {
			return forbidden("BadCertificate", "the client certificate lists no topics")
		}
		allowed = topics
	}
	if len(allowed) > 0 && !slices.Contains(allowed, p.topic()) {
		return bad("TopicDisallowed", "the credential may not push this topic")
	}
	return nil
}

// checkDevice looks the token up. A token of the other environment is unknown here.
func (a *APNs) checkDevice(p *apnsRequest) *verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.devices[p.token]
	if _, err := hex.DecodeString(p.token); err != nil || d == nil {
		return bad("BadDeviceToken", "the token is malformed or not of this environment")
	}
	t := d.topics[p.topic()]
	if t == nil {
		return bad("DeviceTokenNotForTopic", "the token is registered for another topic")
	}
	if t.reason != "" {
		return &verdict{status: http.StatusGone, reason: t.reason, why: "the device is gone", at: t.goneAt}
	}
	return nil
}

func checkBody(p *apnsRequest) *verdict {
	limit := maxPayload
	if p.Header.Get("apns-push-type") == "voip" {
		limit = maxVoIPPayload
	}
	if len(p.body) > limit {
		why := "the payload has " + strconv.Itoa(len(p.body)) + " bytes, more than " + strconv.Itoa(limit)
		return &verdict{status: http.StatusRequestEntityTooLarge, reason: "PayloadTooLarge", why: why}
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(p.body, &o); err != nil || o == nil || p.Header.Get("Content-Encoding") != "" {
		return bad("PayloadEmpty", "the payload is empty, compressed, or not a JSON object")
	}
	return nil
}

// checkRate counts the pushes that a token got in the last second.
func (a *APNs) checkRate(p *apnsRequest) *verdict {
	if a.o.TokenRate <= 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.devices[p.token]
	d.sent = slices.DeleteFunc(d.sent, func(at time.Time) bool { return p.now.Sub(at) >= time.Second })
	if len(d.sent) >= a.o.TokenRate {
		return &verdict{status: http.StatusTooManyRequests, reason: "TooManyRequests", why: "too many pushes to one token"}
	}
	d.sent = append(d.sent, p.now)
	return nil
}
