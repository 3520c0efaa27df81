package bell

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// Bounds of a Web Push subscription, in bytes.
const (
	maxSubscription = 4096 // of its JSON
	maxEndpoint     = 1000
	publicKeyBytes  = 65 // an uncompressed point on P-256 (RFC 8291 section 2.1)
	authBytes       = 16 // RFC 8291 section 3.2
)

// Subscription is one browser's way to be told, as Device keeps it: the endpoint is the push
// token, and the keys are PushKeys (RFC 8291 section 2). Both are secrets: who knows the
// endpoint can push to it.
type Subscription struct {
	Endpoint planet.Secret // https URL; scheme and host in lower case, without the usual port
	Keys     planet.Secret // p256dh and auth in base64url, with a dot between
}

// ParseSubscription reads what PushSubscription.toJSON gives in a browser: an object with
// endpoint and keys {p256dh, auth}. What else it holds is not looked at. hosts are the push
// services that the endpoint may name. The errors say what is wrong and repeat nothing.
func ParseSubscription(text planet.Secret, hosts PushHosts) (Subscription, error) {
	if len(text) == 0 || len(text) > maxSubscription {
		return Subscription{}, errors.New("want a Web Push subscription of at most " + strconv.Itoa(maxSubscription) + " bytes, as JSON")
	}
	var fields, keys map[string]json.RawMessage // by their exact names
	if json.Unmarshal([]byte(text.Reveal()), &fields) != nil || fields == nil {
		return Subscription{}, errors.New("a Web Push subscription is a JSON object, as PushSubscription.toJSON() gives it")
	}
	var endpoint string
	if json.Unmarshal(fields["endpoint"], &endpoint) != nil || endpoint == "" {
		return Subscription{}, errors.New("the subscription has no endpoint")
	}
	if json.Unmarshal(fields["keys"], &keys) != nil {
		return Subscription{}, errors.New("the subscription has no keys")
	}
	public, err := subscriptionKey(keys, "p256dh", publicKeyBytes)
	if err != nil {
		return Subscription{}, err
	}
	if _, err := ecdh.P256().NewPublicKey(public); err != nil {
		return Subscription{}, errors.New("keys.p256dh of the subscription is no point on P-256")
	}
	auth, err := subscriptionKey(keys, "auth", authBytes)
	if err != nil {
		return Subscription{}, err
	}
	canonical, err := hosts.canonical(endpoint)
	if err != nil {
		return Subscription{}, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return Subscription{Endpoint: canonical, Keys: planet.Secret(b64(public) + "." + b64(auth))}, nil
}

func subscriptionKey(keys map[string]json.RawMessage, name string, size int) ([]byte, error) {
	var text string
	if json.Unmarshal(keys[name], &text) != nil || text == "" {
		return nil, errors.New("the subscription has no keys." + name)
	}
	key, err := decodeBase64(text)
	if err != nil || len(key) != size {
		return nil, errors.New("keys." + name + " of the subscription must be " + strconv.Itoa(size) + " bytes in base64url")
	}
	return key, nil
}

// Open returns the browser's public key and its secret of 16 bytes. It fails for a
// subscription that ParseSubscription did not make.
func (s Subscription) Open() (public *ecdh.PublicKey, auth []byte, err error) {
	failed := errors.New("the keys of the subscription are not usable")
	first, second, _ := strings.Cut(s.Keys.Reveal(), ".")
	point, err := decodeBase64(first)
	if err != nil {
		return nil, nil, failed
	}
	if public, err = ecdh.P256().NewPublicKey(point); err != nil {
		return nil, nil, failed
	}
	if auth, err = decodeBase64(second); err != nil || len(auth) != authBytes {
		return nil, nil, failed
	}
	return public, auth, nil
}

// PushHost is a push service that subscriptions may name.
type PushHost struct {
	name string // as it was written, in lower case; for metrics
	host string // a host; or, with within, the domain in which it lies
	port string
	// within says that every host in the domain is meant, and not the domain itself.
	within bool
}

const httpsPort = "443"

// ParsePushHost reads a host such as push.example.com, or *.push.example.com for every host in
// that domain, with a port if it is not 443. An IP address has no star.
func ParsePushHost(text string) (PushHost, error) {
	wrong := func(why string) (PushHost, error) {
		return PushHost{}, errors.New("\"" + Clip(text) + "\" " + why + "; want a host such as push.example.com, or *.push.example.com for all hosts in a domain")
	}
	h := PushHost{name: strings.ToLower(text), port: httpsPort}
	h.host = h.name
	if host, port, err := net.SplitHostPort(h.name); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return wrong("has no valid port")
		}
		h.host, h.port = host, strconv.FormatUint(n, 10)
	}
	h.host, h.within = strings.CutPrefix(h.host, "*.")
	if _, err := netip.ParseAddr(strings.Trim(h.host, "[]")); err == nil && !h.within {
		h.host = strings.Trim(h.host, "[]")
		return h, nil
	}
	if !hostName(h.host) || h.within && !strings.Contains(h.host, ".") {
		return wrong("is no host name")
	}
	return h, nil
}

// hostName reports whether text is a DNS name in lower case, without a dot at its end.
func hostName(text string) bool {
	if text == "" || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// String is how the operator wrote it.
func (h PushHost) String() string { return h.name }

func (h PushHost) has(host, port string) bool {
	if port != h.port {
		return false
	}
	if h.within {
		return strings.HasSuffix(host, "."+h.host)
	}
	return host == h.host
}

// PushHosts are the push services that subscriptions may name. Endpoints come from clients, so
// without such a list a client could make the server send requests to any host (server-side
// request forgery; docs/push-providers.md 3.1).
type PushHosts []PushHost

var endpointTooLong = "the subscription's endpoint is longer than " + strconv.Itoa(maxEndpoint) + " bytes"

const notAllowed = "the subscription's endpoint is not of a push service that this server sends to (web_push.hosts)"

// Find returns the entry that an endpoint belongs to, and its parts. The errors repeat nothing
// of it.
func (hosts PushHosts) Find(endpoint planet.Secret) (PushHost, *url.URL, error) {
	text := endpoint.Reveal()
	fail := func(why string) (PushHost, *url.URL, error) { return PushHost{}, nil, errors.New(why) }
	if len(text) > maxEndpoint {
		return fail(endpointTooLong)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return fail("the subscription's endpoint must be printable ASCII without spaces")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return fail("the subscription's endpoint is no URL")
	case u.Scheme != "https":
		return fail("the subscription's endpoint must be an https URL")
	case strings.HasSuffix(u.Host, ":"): // what is the same without it, in another text
		return fail("the subscription's endpoint has a colon without a port")
	case u.User != nil || strings.Contains(text, "#"):
		return fail("the subscription's endpoint must have no user name, password or #")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = httpsPort
	}
	for _, h := range hosts {
		if h.has(host, port) {
			return h, u, nil
		}
	}
	return fail(notAllowed)
}

// canonical checks an endpoint, and writes it in the one form in which it is compared.
func (hosts PushHosts) canonical(endpoint string) (planet.Secret, error) {
	_, u, err := hosts.Find(planet.Secret(endpoint))
	if err != nil {
		return "", err
	}
	if u.Port() == httpsPort {
		u.Host = strings.TrimSuffix(u.Host, ":"+httpsPort)
	}
	u.Host = strings.ToLower(u.Host)
	text := u.String() // in which more may be escaped than the browser did
	if len(text) > maxEndpoint {
		return "", errors.New(endpointTooLong)
	}
	return planet.Secret(text), nil
}
