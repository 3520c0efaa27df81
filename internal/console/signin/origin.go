package signin

import (
	"net/http"
	"net/url"
	"strings"
)

// changes reports whether a method may change something (RFC 9110 section 9.2.1).
func changes(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// fromHere reports whether a browser says that a request comes from a page of this very
// server. Every browser says so for what is not GET, in Sec-Fetch-Site or in Origin; what says
// nothing is not believed.
func fromHere(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// maxNext bounds where to go after signing in, in bytes.
const maxNext = 1024

// LocalPath returns where to go after signing in: next if that is a path of this server, and
// else "/". What a browser could take for another server is none: "//host", "/\host".
func LocalPath(next string) string {
	u, err := url.Parse(next)
	switch {
	case err != nil, len(next) > maxNext, !strings.HasPrefix(next, "/"), strings.HasPrefix(next, "//"):
	case strings.ContainsAny(next, "\\\t\r\n\x00"), u.Scheme != "", u.Host != "", u.User != nil, u.Opaque != "":
	case strings.HasPrefix(u.Path, "//"), strings.Contains(u.Path, "\\"), u.Path == "/signin", strings.HasPrefix(u.Path, "/signin/"), u.Path == "/signout":
	default:
		return next
	}
	return "/"
}
