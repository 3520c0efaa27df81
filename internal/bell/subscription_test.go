package bell

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/planet"
)

// The browser's keys of RFC 8291 section 5.
const (
	p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	auth   = "BTBZMqHH6r4Tts7J_aSIgg"
)

func pushHosts(t testing.TB, texts ...string) PushHosts {
	t.Helper()
	var hosts PushHosts
	for _, text := range texts {
		h, err := ParsePushHost(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func usual(t testing.TB) PushHosts {
	return pushHosts(t, "fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com", "push.example.com:8443")
}

func subscriptionJSON(endpoint, p256dh, auth string) string {
	return fmt.Sprintf(`{"endpoint":%q,"expirationTime":null,"keys":{"p256dh":%q,"auth":%q}}`, endpoint, p256dh, auth)
}

const chrome = "https://fcm.googleapis.com/fcm/send/abc:DEF-_"

func TestSubscriptions(t *testing.T) {
	other := strings.NewReplacer("-", "+", "_", "/")
	for name, test := range map[string]struct{ text, endpoint string }{
		"as a browser gives it": {subscriptionJSON(chrome, p256dh, auth), chrome},
		"padded":                {subscriptionJSON(chrome, p256dh+"=", auth+"=="), chrome},
		"the other alphabet":    {subscriptionJSON(chrome, other.Replace(p256dh)+"=", other.Replace(auth)), chrome},
		"Firefox":               {subscriptionJSON("https://updates.push.services.mozilla.com/wpush/v2/x", p256dh, auth), "https://updates.push.services.mozilla.com/wpush/v2/x"},
		"Safari":                {subscriptionJSON("https://web.push.apple.com/QGl", p256dh, auth), "https://web.push.apple.com/QGl"},
		"Edge":                  {subscriptionJSON("https://wns2-par02p.notify.windows.com/w/?token=BQ%3d%3d&x=/", p256dh, auth), "https://wns2-par02p.notify.windows.com/w/?token=BQ%3d%3d&x=/"},
		"another port":          {subscriptionJSON("https://push.example.com:8443/x", p256dh, auth), "https://push.example.com:8443/x"},
		"capitals":              {subscriptionJSON("HTTPS://FCM.GoogleAPIs.com:443/fcm/Send", p256dh, auth), "https://fcm.googleapis.com/fcm/Send"},
		"no path":               {subscriptionJSON("https://fcm.googleapis.com", p256dh, auth), "https://fcm.googleapis.com"},
		"strange escapes":       {subscriptionJSON("https://fcm.googleapis.com/a%2Fb%zz", p256dh, auth), ""},
		"escapes":               {subscriptionJSON("https://fcm.googleapis.com/a%2Fb%41;c", p256dh, auth), "https://fcm.googleapis.com/a%2Fb%41;c"},
		"more in it":            {`{"more":[1],"endpoint":"` + chrome + `","expirationTime":7,"keys":{"auth":"` + auth + `","p256dh":"` + p256dh + `","x":{}}}`, chrome},
		"as long as may be":     {subscriptionJSON("https://fcm.googleapis.com/"+strings.Repeat("a", 973), p256dh, auth), "https://fcm.googleapis.com/" + strings.Repeat("a", 973)},
	} {
		s, err := ParseSubscription(planet.Secret(test.text), usual(t))
		if (err == nil) != (test.endpoint != "") || s.Endpoint.Reveal() != test.endpoint {
			t.Errorf("%s: %q, error %v", name, s.Endpoint.Reveal(), err)
		}
		if err != nil {
			continue
		}
		if want := planet.Secret(p256dh + "." + auth); s.Keys != want {
			t.Errorf("%s: keys %q", name, s.Keys.Reveal())
		}
		public, secret, err := s.Open()
		if err != nil || base64.RawURLEncoding.EncodeToString(public.Bytes()) != p256dh || len(secret) != 16 {
			t.Errorf("%s: the keys do not open: %v", name, err)
		}
	}
}

func TestSubscriptionsThatAreRefused(t *testing.T) {
	point, err := base64.RawURLEncoding.DecodeString(p256dh)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	off := bytes.Clone(point)
	off[64] ^= 1
	for name, test := range map[string]struct{ text, says string }{
		"nothing":                {"", "subscription"},
		"a word":                 {"token", "JSON object"},
		"null":                   {"null", "JSON object"},
		"a list":                 {"[]", "JSON object"},
		"two":                    {subscriptionJSON(chrome, p256dh, auth) + "{}", "JSON object"},
		"huge":                   {`{"x":"` + strings.Repeat("x", 5000) + `"}`, "4096"},
		"no endpoint":            {`{"keys":{}}`, "no endpoint"},
		"a number for an end":    {`{"endpoint":5,"keys":{}}`, "no endpoint"},
		"another spelling":       {strings.Replace(subscriptionJSON(chrome, p256dh, auth), "endpoint", "Endpoint", 1), "no endpoint"},
		"no keys":                {`{"endpoint":"` + chrome + `"}`, "no keys"},
		"a list of keys":         {`{"endpoint":"` + chrome + `","keys":[]}`, "no keys"},
		"no p256dh":              {subscriptionJSON(chrome, "", auth), "p256dh"},
		"no auth":                {subscriptionJSON(chrome, p256dh, ""), "auth"},
		"short p256dh":           {subscriptionJSON(chrome, b64(point[:64]), auth), "65 bytes"},
		"compressed p256dh":      {subscriptionJSON(chrome, b64(append([]byte{2}, point[1:33]...)), auth), "65 bytes"},
		"hybrid p256dh":          {subscriptionJSON(chrome, b64(append([]byte{6}, point[1:]...)), auth), "point"},
		"p256dh off the curve":   {subscriptionJSON(chrome, b64(off), auth), "point"},
		"p256dh of zeros":        {subscriptionJSON(chrome, b64(append([]byte{4}, make([]byte, 64)...)), auth), "point"},
		"p256dh that is no text": {subscriptionJSON(chrome, p256dh[:86]+"!", auth), "65 bytes"},
		"long auth":              {subscriptionJSON(chrome, p256dh, b64(make([]byte, 17))), "16 bytes"},
		"auth with a line end":   {subscriptionJSON(chrome, p256dh, auth[:10]+"\n"+auth[10:]), "16 bytes"},
		"http":                   {subscriptionJSON("http://fcm.googleapis.com/x", p256dh, auth), "https"},
		"no scheme":              {subscriptionJSON("//fcm.googleapis.com/x", p256dh, auth), "https"},
		"a path":                 {subscriptionJSON("/x", p256dh, auth), "no URL"},
		"an opaque one":          {subscriptionJSON("https:fcm.googleapis.com/x", p256dh, auth), "no URL"},
		"a user":                 {subscriptionJSON("https://a@fcm.googleapis.com/x", p256dh, auth), "user name"},
		"a fragment":             {subscriptionJSON("https://fcm.googleapis.com/x#y", p256dh, auth), "#"},
		"an empty fragment":      {subscriptionJSON("https://fcm.googleapis.com/x#", p256dh, auth), "#"},
		"a space":                {subscriptionJSON("https://fcm.googleapis.com/x y", p256dh, auth), "printable"},
		"a tab before":           {subscriptionJSON("\thttps://fcm.googleapis.com/x", p256dh, auth), "printable"},
		"a line end":             {subscriptionJSON("https://fcm.googleapis.com/x\r\nHost: y", p256dh, auth), "printable"},
		"a backslash":            {subscriptionJSON(`https://evil.example\@fcm.googleapis.com/x`, p256dh, auth), "printable"},
		"another script":         {subscriptionJSON("https://fcm.googleapis.com/é", p256dh, auth), "printable"},
		"too long":               {subscriptionJSON("https://fcm.googleapis.com/"+strings.Repeat("a", 974), p256dh, auth), "1000"},
		"too long when escaped":  {subscriptionJSON("https://fcm.googleapis.com/"+strings.Repeat("<", 900), p256dh, auth), "1000"},
		"another host":           {subscriptionJSON("https://evil.example/x", p256dh, auth), "web_push.hosts"},
		"another port":           {subscriptionJSON("https://fcm.googleapis.com:8443/x", p256dh, auth), "web_push.hosts"},
		"the port of another":    {subscriptionJSON("https://push.example.com/x", p256dh, auth), "web_push.hosts"},
		"the domain itself":      {subscriptionJSON("https://push.apple.com/x", p256dh, auth), "web_push.hosts"},
		"a name that ends so":    {subscriptionJSON("https://evilpush.apple.com/x", p256dh, auth), "web_push.hosts"},
		"a name that begins so":  {subscriptionJSON("https://fcm.googleapis.com.evil.example/x", p256dh, auth), "web_push.hosts"},
		"a host inside":          {subscriptionJSON("https://x.fcm.googleapis.com/x", p256dh, auth), "web_push.hosts"},
		"a dot at the end":       {subscriptionJSON("https://fcm.googleapis.com./x", p256dh, auth), "web_push.hosts"},
		"a port of nothing":      {subscriptionJSON("https://web.push.apple.com:/x", p256dh, auth), "without a port"},
		"an address":             {subscriptionJSON("https://127.0.0.1/x", p256dh, auth), "web_push.hosts"},
		"an address of IPv6":     {subscriptionJSON("https://[::1]/x", p256dh, auth), "web_push.hosts"},
		"a zone":                 {subscriptionJSON("https://[fe80::1%25eth0]/x", p256dh, auth), "web_push.hosts"},
	} {
		s, err := ParseSubscription(planet.Secret(test.text), usual(t))
		if err == nil || s != (Subscription{}) {
			t.Errorf("%s is taken", name)
			continue
		}
		if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v does not say %q", name, err, test.says)
		}
		if strings.Contains(err.Error(), "googleapis") || strings.Contains(err.Error(), "evil") {
			t.Errorf("%s: the error repeats the endpoint: %v", name, err)
		}
	}
	if _, err := ParseSubscription(planet.Secret(subscriptionJSON(chrome, p256dh, auth)), nil); err == nil {
		t.Error("without push services a subscription is taken")
	}
}

func TestKeysThatDoNotOpen(t *testing.T) {
	for _, keys := range []planet.Secret{"", ".", p256dh, p256dh + ".", "." + auth, p256dh + "." + auth + "AA", auth + "." + p256dh, "!" + "." + auth} {
		if _, _, err := (Subscription{Keys: keys}).Open(); err == nil {
			t.Errorf("%q opens", keys.Reveal())
		}
	}
}

func TestPushHosts(t *testing.T) {
	for text, want := range map[string]string{
		"push.example.com": "push.example.com", "Push.Example.com": "push.example.com", "*.push.example.com": "*.push.example.com",
		"push.example.com:8443": "push.example.com:8443", "127.0.0.1:9": "127.0.0.1:9", "[::1]:9": "[::1]:9", "::1": "::1", "localhost": "localhost",
		"": "", "*": "", "*.": "", "*.com": "", "a.*.com": "", "**.example.com": "", "https://push.example.com": "", "push.example.com/": "",
		"push.example.com:": "", "push.example.com:0": "", "push.example.com:65536": "", "push.example.com:x": "", "a b": "", ".example.com": "",
		"example.com.": "", "*.127.0.0.1": "*.127.0.0.1", "exämple.com": "", "user@example.com": "", strings.Repeat("a", 64) + ".com": "",
	} {
		h, err := ParsePushHost(text)
		if (err == nil) != (want != "") || h.String() != want {
			t.Errorf("%q: %q, error %v", text, h, err)
		}
	}
	for endpoint, want := range map[string]string{
		"https://127.0.0.1:9/x": "127.0.0.1:9", "https://[::1]:9/x": "[::1]:9", "https://[::1]/x": "::1", "https://a.b.push.example.com/x": "*.push.example.com",
	} {
		h, _, err := pushHosts(t, "127.0.0.1:9", "[::1]:9", "::1", "*.push.example.com").Find(planet.Secret(endpoint))
		if err != nil || h.String() != want {
			t.Errorf("%s: %q, error %v", endpoint, h, err)
		}
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add(subscriptionJSON(chrome, p256dh, auth))
	f.Add(subscriptionJSON("https://wns2.notify.windows.com/w/?token=BQ%3d", p256dh+"=", auth+"=="))
	f.Add(subscriptionJSON("HTTPS://FCM.googleapis.com:443//..%2f", p256dh, auth))
	f.Add(subscriptionJSON("https://web.push.apple.com:/x", p256dh, auth))
	f.Add(`{"endpoint":"https://[::1]/","keys":{"p256dh":null}}`)
	f.Add(`null`)
	hosts := usual(f)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSubscription(planet.Secret(text), hosts)
		if err != nil {
			if s != (Subscription{}) || len(err.Error()) > 200 {
				t.Errorf("refused, and yet %v; %v", s, err)
			}
			return
		}
		if _, _, err := s.Open(); err != nil {
			t.Errorf("what is taken does not open: %v", err)
		}
		_, u, err := hosts.Find(s.Endpoint)
		if err != nil || u.Scheme != "https" || u.User != nil || strings.HasSuffix(u.Host, ":") || len(s.Endpoint) > maxEndpoint {
			t.Fatalf("what is taken cannot be sent to: %v", err)
		}
		// The canonical form is its own canonical form, or one browser would be two devices.
		again, err := json.Marshal(s.Endpoint.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		keys := strings.SplitN(s.Keys.Reveal(), ".", 2)
		next, err := ParseSubscription(planet.Secret(fmt.Sprintf(`{"endpoint":%s,"keys":{"p256dh":%q,"auth":%q}}`, again, keys[0], keys[1])), hosts)
		if err != nil || next != s {
			t.Errorf("read again it is another one (%v)", err)
		}
	})
}
