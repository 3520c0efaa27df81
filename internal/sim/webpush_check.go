package sim

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

const (
	maxPushBody      = 4096 // RFC 8030 section 7.2: every service takes as much
	maxBridgedBody   = 2744 // of Firefox on Android
	maxPushRetention = 28 * 24 * time.Hour
)

var (
	pushTopic = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	pushTTL   = regexp.MustCompile(`^[0-9]{1,10}$`)
	urgencies = []string{"very-low", "low", "normal", "high"}
)

// judge runs the checks of docs/push-providers.md 6.3: first what a push service looks at, in
// the order of path, headers, size, VAPID, subscription; then what only the browser can see,
// and would drop without a word. The sender is told here, because nobody else would be.
func (p *WebPush) judge(q *pushRequest) (*WebPushMessage, *pushRefusal) {
	if q.to == nil {
		return nil, refusal(refusedPath, "there is no subscription at this path")
	}
	if q.Method != http.MethodPost {
		return nil, refusal(refusedMethod, "a push is a POST")
	}
	m := &WebPushMessage{
		At: p.clock.Now(), Subscription: q.to.id, Profile: q.to.profile, Size: len(q.body), Header: q.Header.Clone(),
	}
	m.Header.Del("Authorization")
	for _, check := range []func(*pushRequest, *WebPushMessage) *pushRefusal{
		checkPushTTL, checkUrgency, checkTopic, checkCoding, checkPushSize,
		p.checkVAPID, p.checkGone, checkContent, p.checkPushCall,
	} {
		if refused := check(q, m); refused != nil {
			return nil, refused
		}
	}
	return m, nil
}

// checkPushTTL wants one TTL of whole seconds.
func checkPushTTL(q *pushRequest, m *WebPushMessage) *pushRefusal {
	values := q.Header.Values("TTL")
	if len(values) != 1 || !pushTTL.MatchString(values[0]) {
		return refusal(refusedTTL, "there is not exactly one TTL of whole seconds")
	}
	seconds, err := strconv.ParseInt(values[0], 10, 64)
	switch {
	case err != nil:
		return refusal(refusedTTL, "the TTL is no number")
	case seconds == 0 && q.to.profile == PushApple:
		return refusal(refusedTTL, "Apple wants a positive TTL")
	case seconds == 0 && q.to.profile == PushWNS:
		return refusal(refusedTTL, "WNS does not take a TTL of 0")
	}
	m.TTL = min(time.Duration(seconds)*time.Second, maxPushRetention)
	return nil
}

// checkUrgency wants one of the four words, or none.
func checkUrgency(q *pushRequest, m *WebPushMessage) *pushRefusal {
	values := q.Header.Values("Urgency")
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || !slices.Contains(urgencies, values[0]) {
		return refusal(refusedUrgency, "the Urgency is not one of very-low, low, normal, high")
	}
	m.Urgency = values[0]
	return nil
}

// checkTopic wants a short word of the base64url alphabet, or none.
func checkTopic(q *pushRequest, m *WebPushMessage) *pushRefusal {
	values := q.Header.Values("Topic")
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || !pushTopic.MatchString(values[0]) {
		return refusal(refusedTopic, "the Topic is not one word of at most 32 letters of base64url")
	}
	m.Topic = values[0]
	return nil
}

// checkCoding wants the coding of RFC 8188, and none of the headers of its drafts.
func checkCoding(q *pushRequest, _ *WebPushMessage) *pushRefusal {
	values := q.Header.Values("Content-Encoding")
	if len(values) != 1 || values[0] != "aes128gcm" {
		return refusal(refusedCoding, "the Content-Encoding is not aes128gcm alone")
	}
	if q.Header.Get("Encryption") != "" || q.Header.Get("Crypto-Key") != "" {
		return refusal(refusedCoding, "Encryption and Crypto-Key are of a draft; aes128gcm has its parameters in the body")
	}
	return nil
}

// checkPushSize looks at the length of the body.
func checkPushSize(q *pushRequest, _ *WebPushMessage) *pushRefusal {
	limit := maxPushBody
	if q.to.profile == PushFirefoxAndroid {
		limit = maxBridgedBody
	}
	switch n := len(q.body); {
	case n < minPushBody:
		return refusal(refusedSmall, "the body has less than the 103 bytes of an empty message")
	case n > limit:
		return refusal(refusedLarge, "the body has more than "+strconv.Itoa(limit)+" bytes")
	}
	return nil
}

// checkVAPID looks at who sends.
func (p *WebPush) checkVAPID(q *pushRequest, _ *WebPushMessage) *pushRefusal {
	v, refused := parseVAPID(q.Header)
	if refused != nil {
		return refused
	}
	anySub := !p.o.Strict && q.to.profile != PushApple
	if refused := v.check(p.URL(), p.clock.Now(), anySub); refused != nil {
		return refused
	}
	if !bytes.Equal(v.public, q.to.application) {
		return refusal(refusedOtherKey, "k is not the key with which the browser subscribed")
	}
	return nil
}

// checkGone looks whether the subscription has ended.
func (p *WebPush) checkGone(q *pushRequest, _ *WebPushMessage) *pushRefusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.to.gone {
		return refusal(refusedGone, "push subscription has unsubscribed or expired.")
	}
	return nil
}

// checkContent decrypts.
func checkContent(q *pushRequest, m *WebPushMessage) *pushRefusal {
	data, err := q.to.open(q.body)
	if err != nil {
		return refusal(refusedContent, err.Error())
	}
	m.Data = planet.Secret(data)
	return nil
}

// checkPushCall is the strict call test.
func (p *WebPush) checkPushCall(_ *pushRequest, m *WebPushMessage) *pushRefusal {
	if !p.o.Strict {
		return nil
	}
	fields, err := clients.Texts([]byte(m.Data.Reveal()))
	if err != nil {
		return refusal(refusedUnfit, "call test: the message "+err.Error())
	}
	if isNotice(fields) {
		return checkPushNotice(fields, m)
	}
	switch {
	case m.Urgency != "high":
		return refusal(refusedUnfit, "call test: the Urgency is not high, the call waits for the device to wake")
	case m.TTL > p.o.RingTime:
		return refusal(refusedUnfit, "call test: the TTL is longer than the ring")
	}
	return nil
}

// checkPushNotice is the strict test of what is no call, as [checkNotice] is FCM's.
func checkPushNotice(fields map[string]string, m *WebPushMessage) *pushRefusal {
	switch {
	case m.TTL > maxNotice:
		return refusal(refusedUnfit, "notice test: the TTL is longer than a day")
	case fields["app_event"] == missedCall && m.Urgency == "high":
		return refusal(refusedUnfit, "notice test: a missed call wakes the device")
	}
	return nil
}
