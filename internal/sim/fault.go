package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FaultKind names what a fault does.
type FaultKind string

// The kinds of faults of single requests.
const (
	// FaultAnswer is what Fault.Answer says.
	FaultAnswer FaultKind = "answer"
	// FaultSlow answers as always, after Delay.
	FaultSlow FaultKind = "slow"
	// FaultDrip sends the headers at once and then a byte of the body each Delay.
	FaultDrip FaultKind = "drip"
	// FaultHang never answers; the connection stays well.
	FaultHang FaultKind = "hang"
	// FaultServerError is a 500, FaultUnavailable a 503, FaultTooMany a 429, in the
	// service's own words.
	FaultServerError FaultKind = "server-error"
	FaultUnavailable FaultKind = "unavailable"
	FaultTooMany     FaultKind = "too-many"
	// FaultUnauthorized is FCM's 401 and APNs' 403 ExpiredProviderToken.
	FaultUnauthorized FaultKind = "unauthorized"
	// FaultHTML is a page of a middlebox, with status 502.
	FaultHTML FaultKind = "html"
	// FaultShutdown is APNs' 503 Shutdown with a GOAWAY.
	FaultShutdown FaultKind = "shutdown"
	// FaultGoAwayRefuse sends a GOAWAY whose last stream is below the request's:
	// nothing was done.
	FaultGoAwayRefuse FaultKind = "goaway-refuse"
	// FaultGoAwayAnswer sends a GOAWAY that covers the request, and then its answer.
	FaultGoAwayAnswer FaultKind = "goaway-answer"
	// FaultGoAwayClose sends a GOAWAY that covers the request, and closes without answer.
	FaultGoAwayClose FaultKind = "goaway-close"
	// FaultRefusedStream and FaultStreamError are RST_STREAM REFUSED_STREAM and
	// INTERNAL_ERROR.
	FaultRefusedStream FaultKind = "refused-stream"
	FaultStreamError   FaultKind = "stream-error"
	// FaultReset is a TCP reset, FaultClose an orderly close, each as soon as the
	// headers of the request are there.
	FaultReset FaultKind = "tcp-reset"
	FaultClose FaultKind = "close"
	// FaultRevoked refuses the service account's key, FaultShortToken issues an access
	// token that ends after ExpiresIn. Both are of the token endpoint.
	FaultRevoked    FaultKind = "revoked"
	FaultShortToken FaultKind = "short-token"
	// FaultRedirect is a 307 of a push service of browsers, to another path of its own.
	FaultRedirect FaultKind = "redirect"
)

// The kinds of faults of connections.
const (
	// FaultSilence is a black hole: bytes are swallowed, nothing is said, no FIN comes.
	FaultSilence FaultKind = "silence"
	// FaultNoPing leaves PING unanswered, and nothing else.
	FaultNoPing FaultKind = "no-ping"
	// FaultStreams advertises SETTINGS_MAX_CONCURRENT_STREAMS of Streams, and refuses
	// more.
	FaultStreams FaultKind = "streams"
	// FaultTLSStall accepts the TCP connection and never shakes hands.
	FaultTLSStall FaultKind = "tls-stall"
	// FaultExpired and FaultWrongHost show a certificate that is over, or of another host.
	FaultExpired   FaultKind = "cert-expired"
	FaultWrongHost FaultKind = "cert-wrong-host"
	// FaultRefuse closes the port: connections are refused. Open ones stay. At the end
	// of the fault the same port is open again.
	FaultRefuse FaultKind = "refuse"
)

// FaultScope says which connections a fault strikes.
type FaultScope string

// The scopes of faults of connections.
const (
	ScopeAll  FaultScope = "all"  // those open now, and new ones; the default where it is possible
	ScopeOpen FaultScope = "open" // those open now; new ones are well
	ScopeNew  FaultScope = "new"  // new ones; those open now stay as they are
)

// Fault is something that goes wrong at a fake. The zero value of a field means "not";
// which fields go with which kind is in the table of docs/cli.md, and [Faults.Add] refuses
// the others.
type Fault struct {
	Kind FaultKind
	// Count is how many requests or connections the fault strikes; 0 is all of them,
	// until it is cleared. A fault of requests is gone after the last one, one of
	// connections keeps hold of those it struck until it is cleared.
	Count int
	// Share strikes that part of the requests or connections, from 0 to 1, at random
	// from the seed of the fake. 0 is every one, as 1 is.
	Share float64
	// For ends the fault after that time of the fake's clock.
	For   time.Duration
	Scope FaultScope
	// Delay is waited before the fault, and between the bytes of FaultDrip (0 is 100 ms).
	Delay time.Duration
	// Deliver takes the push, if it is good, before the fault: the sender cannot know.
	Deliver bool
	// Status and Reason replace those of the kind. For GOAWAY, Reason is the reason in
	// its debug data.
	Status int
	Reason string
	// RetryAfter is that header as it is written; RetryDate writes it as the HTTP date
	// that far from now.
	RetryAfter string
	RetryDate  time.Duration
	ExpiresIn  time.Duration // of FaultShortToken; 0 is 5 s
	Streams    int           // of FaultStreams; 0 is 1
	Answer     Answer        // of FaultAnswer
}

// provider is what stands behind a target; the kinds differ by it.
type provider string

const (
	providerAPNs      provider = "apns"
	providerFCM       provider = "fcm"
	providerOAuth     provider = "oauth"
	providerServerAPI provider = "server-api"
	providerWebPush   provider = "webpush"
)

// faultSpec is what there is to know of a kind.
type faultSpec struct {
	kind FaultKind
	// fields are the fields that the kind takes beside kind, target, count, share, for.
	fields    string
	providers []provider // nil is all
	conn      bool       // strikes connections
	means     string
}

// faultSpecs lists all kinds in the order in which people are told of them.
var faultSpecs = []faultSpec{
	{kind: FaultSlow, fields: "delay", means: "answers as always, after the delay"},
	{kind: FaultDrip, fields: "delay status reason", means: "sends the headers at once, then one byte of the body each delay (100ms)"},
	{kind: FaultHang, fields: "delay deliver", means: "never answers; the connection stays well"},
	{kind: FaultServerError, fields: answerFields, means: "500, in the service's words"},
	{kind: FaultUnavailable, fields: answerFields, means: "503, in the service's words"},
	{kind: FaultTooMany, fields: answerFields, means: "429, in the service's words"},
	{kind: FaultUnauthorized, fields: "delay", providers: []provider{providerAPNs, providerFCM, providerServerAPI, providerWebPush}, means: "401; APNs: 403 ExpiredProviderToken; Web Push: 403"},
	{kind: FaultHTML, fields: "delay deliver status retry_after retry_date", means: "a page of a middlebox, 502 unless status says otherwise"},
	{kind: FaultShutdown, fields: "delay deliver", providers: []provider{providerAPNs}, means: "503 Shutdown, with a GOAWAY before it"},
	{kind: FaultGoAwayRefuse, fields: "delay reason", means: "GOAWAY with a last stream below the request's: nothing was done"},
	{kind: FaultGoAwayAnswer, fields: "delay reason", means: "GOAWAY that covers the request, then its answer"},
	{kind: FaultGoAwayClose, fields: "delay reason deliver", means: "GOAWAY that covers the request, then the end without an answer"},
	{kind: FaultRefusedStream, fields: "delay", means: "RST_STREAM REFUSED_STREAM: nothing was done"},
	{kind: FaultStreamError, fields: "delay deliver", means: "RST_STREAM INTERNAL_ERROR"},
	{kind: FaultReset, fields: "delay deliver", means: "TCP reset in the middle of the request"},
	{kind: FaultClose, fields: "delay deliver", means: "closes the connection right after the headers of the request"},
	{kind: FaultRevoked, fields: "delay", providers: []provider{providerOAuth}, means: "400 invalid_grant: the service account's key is revoked"},
	{kind: FaultShortToken, fields: "expires_in", providers: []provider{providerOAuth}, means: "an access token that ends after expires_in (5s)"},
	{kind: FaultRedirect, fields: "delay status", providers: []provider{providerWebPush}, means: "307 to another path of the service, which nobody should follow"},
	{kind: FaultAnswer, fields: answerFields + " html hang close goaway header", means: "what the other fields say; no kind at all is the same, in the place of an earlier one"},
	{kind: FaultSilence, fields: "scope", conn: true, means: "a black hole: swallows everything, says nothing, sends no FIN"},
	{kind: FaultNoPing, fields: "scope", conn: true, means: "leaves PING unanswered, and nothing else"},
	{kind: FaultStreams, fields: "scope streams", conn: true, means: "advertises so many concurrent streams (1) and refuses more"},
	{kind: FaultTLSStall, conn: true, means: "takes the TCP connection and never shakes hands"},
	{kind: FaultExpired, conn: true, means: "shows a certificate that has expired"},
	{kind: FaultWrongHost, conn: true, means: "shows a certificate of another host"},
	{kind: FaultRefuse, conn: true, means: "closes the port; open connections stay. Afterwards the same port is open again"},
}

const answerFields = "delay deliver status reason retry_after retry_date"

// maxFaultTime bounds the times of a fault: a typing error should not hang for days.
const maxFaultTime = time.Hour

func specOf(kind FaultKind) (faultSpec, bool) {
	i := slices.IndexFunc(faultSpecs, func(s faultSpec) bool { return s.kind == kind })
	if i < 0 {
		return faultSpec{}, false
	}
	return faultSpecs[i], true
}

// of says whether the kind is one of the provider's.
func (s faultSpec) of(p provider) bool { return s.providers == nil || slices.Contains(s.providers, p) }

// FaultHelp describes a kind of fault for people.
type FaultHelp struct {
	Kind   FaultKind
	Means  string // one line
	Fields string // what it takes beside target, count, share and for; blank-separated
}

// FaultKinds returns all kinds, in the order in which people are told of them.
func FaultKinds() []FaultHelp {
	var all []FaultHelp
	for _, s := range faultSpecs {
		all = append(all, FaultHelp{Kind: s.kind, Means: s.means, Fields: s.fields})
	}
	return all
}

// used names the fields of f that are set, as the control port calls them.
func (f Fault) used() []string {
	var names []string
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"scope", f.Scope != ""},
		{"delay", f.Delay != 0},
		{"deliver", f.Deliver},
		{"status", f.Status != 0},
		{"reason", f.Reason != ""},
		{"retry_after", f.RetryAfter != ""},
		{"retry_date", f.RetryDate != 0},
		{"expires_in", f.ExpiresIn != 0},
		{"streams", f.Streams != 0},
	} {
		if field.set {
			names = append(names, field.name)
		}
	}
	return names
}

// check refuses what is not possible at the provider, and says what is.
func (f Fault) check(p provider) error {
	spec, ok := specOf(f.Kind)
	if !ok || !spec.of(p) {
		var kinds []string
		for _, s := range faultSpecs {
			if s.of(p) {
				kinds = append(kinds, string(s.kind))
			}
		}
		return fmt.Errorf("%q is no kind of fault of this target; there are %s", f.Kind, strings.Join(kinds, ", "))
	}
	fields := strings.Fields(spec.fields)
	for _, name := range f.used() {
		if !slices.Contains(fields, name) {
			return fmt.Errorf("a fault of kind %q has no %q; it takes %s", f.Kind, name,
				strings.Join(append([]string{"target", "count", "share", "for"}, fields...), ", "))
		}
	}
	return errors.Join(f.checkReach(spec), f.checkNumbers())
}

// checkReach checks what the fault strikes, and how long.
func (f Fault) checkReach(spec faultSpec) error {
	switch {
	case f.Kind == FaultRefuse && (f.Count != 0 || f.Share != 0):
		return errors.New(`a port that refuses connections does not see them, so "refuse" has no "count" and no "share"; give "for", or clear the fault`)
	case spec.conn && !slices.Contains([]FaultScope{"", ScopeAll, ScopeOpen, ScopeNew}, f.Scope):
		return fmt.Errorf(`the scope %q is none of "all", "open", "new"`, f.Scope)
	case f.Kind == FaultSilence && f.For != 0 && f.Scope == ScopeOpen:
		return errors.New(`a connection that fell silent stays so, so "silence" of scope "open" has no "for"`)
	case f.Count < 0:
		return fmt.Errorf("the count %d is negative; 0 is all until the fault is cleared", f.Count)
	case !(f.Share >= 0 && f.Share <= 1): // not a number is neither
		return fmt.Errorf("the share %v is not from 0 to 1", f.Share)
	}
	return nil
}

// checkNumbers checks the rest.
func (f Fault) checkNumbers() error {
	for name, d := range map[string]time.Duration{
		"for": f.For, "delay": f.Delay, "retry_date": f.RetryDate, "expires_in": f.ExpiresIn, "delay of the answer": f.Answer.Delay,
	} {
		if d < 0 || d > maxFaultTime {
			return fmt.Errorf("the time %q is %v, which is not from 0 to %v", name, d, maxFaultTime)
		}
	}
	for _, status := range []int{f.Status, f.Answer.Status} {
		if status != 0 && (status < 200 || status > 599) {
			return fmt.Errorf("the status %d is not from 200 to 599", status)
		}
	}
	switch {
	case f.Kind == FaultSlow && f.Delay == 0:
		return errors.New(`a fault of kind "slow" needs a "delay", such as "2s"`)
	case f.Answer.Body != "" && f.Answer.Status == 0:
		return errors.New("an answer with a body needs a status from 200 to 599")
	case f.RetryAfter != "" && f.RetryDate != 0:
		return errors.New(`"retry_after" and "retry_date" write the same header; give one of them`)
	case f.ExpiresIn != 0 && f.ExpiresIn < time.Second:
		return errors.New(`"expires_in" is in whole seconds and at least 1s`)
	case f.Streams < 0 || f.Streams > 1000:
		return fmt.Errorf("%d streams are not from 1 to 1000", f.Streams)
	}
	return nil
}
