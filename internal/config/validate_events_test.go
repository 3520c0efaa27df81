package config

import (
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

// endpoint is an entry of projects[].events, after the name of the first project.
func endpoint(lines ...string) []string {
	return []string{"name: main", "name: main\n    events:\n      - " + strings.Join(lines, "\n        ")}
}

func TestEndpoints(t *testing.T) {
	const url = "projects[0].events[0].url: "
	path := "/" + testlog.TextSecret("hook") // no message may repeat it
	good := "secret: " + bell.NewSigningSecret().Reveal()
	private := url + "has an address that is not public; name it in webhooks.allow_private if it is meant."
	number := url + "has a number for a host; write the address as 192.0.2.1, or a name."
	shape := url + "want an address such as https://backend.example.com/events."
	one := func(name, address string, errors ...string) rule {
		return rule{name: name, replace: endpoint("url: "+address, good), errors: errors}
	}
	checkAll(t, []rule{
		one("good", "https://backend.example.com:8443"+path+"?q=1"),
		one("public address", "https://[2606:4700::1111]/"),
		one("http", "http://backend.example.com"+path, url+"is http://, which anybody on the way can read; use https://, or set webhooks.allow_http."),
		one("another scheme", "ftp://backend.example.com"+path, shape),
		one("no scheme", "backend.example.com"+path, shape),
		one("no host", "https://"+path, shape),
		one("password", "https://user:"+testlog.TextSecret("pass")+"@backend.example.com", url+"want an address without user name, password and #; put a secret into the path or the query."),
		one("loopback", "https://127.0.0.1"+path, private),
		one("private", "https://10.1.2.3"+path, private),
		one("link-local, where clouds keep credentials", "https://169.254.169.254"+path, private),
		one("mapped", "https://[::ffff:127.0.0.1]"+path, private),
		one("decimal", "https://2130706433"+path, number),
		one("short", "https://127.1"+path, number),
		one("hexadecimal", "https://0x7f000001"+path, number),
		{name: "private and allowed", yaml: "webhooks:\n  allow_http: true\n  allow_private: [10.0.0.0/8]\n", replace: endpoint("url: http://10.1.2.3/", good)},
		{name: "nothing", replace: endpoint("name: crm"), errors: []string{
			"projects[0].events[0].secret: is missing; make one with `planetbell event secret`.", url + "is missing; say where events are to be told.",
		}},
		{name: "no signing secret", replace: endpoint("url: https://a.example.com/", "secret: "+testlog.TextSecret("plain")), errors: []string{
			"projects[0].events[0].secret: does not begin with whsec_; make one with `planetbell event secret`.",
		}},
		{name: "type", replace: endpoint("url: https://a.example.com/", good, "types: [call.started]"), errors: []string{
			`projects[0].events[0].types: "call.started", want call.ringing, call.ended, call.missed, room.started, room.changed, room.ended, device.removed or delivery.failed.`,
		}},
		{name: "fallback", replace: endpoint("url: https://a.example.com/", good, "fallback_url: https://a.example.com/"), errors: []string{
			"projects[0].events[0].fallback_url: is the same as url; it must be another way.",
		}},
		{name: "the same name twice", replace: endpoint("url: https://a.example.com/", good+"\n      - url: https://b.example.com/", good), errors: []string{
			`projects[0].events[1].name: "main" is also the name of events[0]; give each endpoint its own.`,
		}},
	})
}

// Every type that there is can be asked for, and asking for none means all of them.
func TestEndpointTypes(t *testing.T) {
	for _, kind := range bell.EventTypes() {
		e := Endpoint{Types: []bell.EventType{kind}}
		f, _ := fieldAt(configType, []string{"projects", "0", "events", "0", "types"})
		if !strings.Contains(" "+f.Tag.Get("oneof")+" ", " "+string(kind)+" ") {
			t.Errorf("%s cannot be asked for", kind)
		}
		if all := (&Endpoint{}).Wanted(); !all.Has(kind) || e.Wanted() == all || !e.Wanted().Has(kind) {
			t.Errorf("%s: none means all, and one means one", kind)
		}
	}
	p := Project{Events: []Endpoint{{Types: []bell.EventType{bell.EventCallEnded}}, {Types: []bell.EventType{bell.EventCallMissed}}}}
	if got := p.Domain().Events; got != bell.Events(bell.EventCallEnded, bell.EventCallMissed) {
		t.Errorf("the project wants %b, not what its endpoints want", got)
	}
	if got := (&Project{}).Domain().Events; got != 0 {
		t.Errorf("a project without endpoints wants %b", got)
	}
}
