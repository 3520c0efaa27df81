// Package web serves the example softphone: a page that can be called. It has no build step;
// README.md says what it shows and how to use it with a server of your own.
package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

//go:embed page
var page embed.FS

// Files are the files of the page, index.html at the root.
func Files() fs.FS {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return files
}

// Config is what the page is told, as config.json beside it. Nothing in it is a secret: whoever
// can open the page can read it.
type Config struct {
	Server    string `json:"server"`    // base URL of the app server, without /v2; "" lets people type it in
	Service   string `json:"service"`   // service ID
	ClientKey string `json:"clientKey"` // the "apiKey" of register_user
	Region    string `json:"region"`    // of register_user

	Cloud       string `json:"cloud"`                 // "planetkit", or "sim"
	Environment string `json:"environment,omitempty"` // planetkit: "evaluation" or "real"
	PlanetKit   string `json:"planetKit,omitempty"`   // planetkit: where its script is, if not in vendor/
	CloudURL    string `json:"cloudURL,omitempty"`    // sim: where the simulator is, relative to the page or whole

	// People may be chosen instead of signing in. For demos.
	People []Person `json:"people,omitempty"`
}

// Person is somebody who may be chosen.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Handler serves files with the page's configuration, under a content security policy that
// lets it talk to the server and the cloud of the configuration, and take PlanetKit from where
// the configuration says, and to nobody else. vendor is
// where a copy of PlanetKit is served from, and may be nil. A configuration that contradicts
// itself is an error.
func Handler(files, vendor fs.FS, c Config) (http.Handler, error) {
	policy, err := c.policy()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	if vendor != nil {
		mux.Handle("GET /vendor/", http.StripPrefix("/vendor/", http.FileServerFS(vendor)))
	}
	mux.Handle("GET /favicon.ico", http.RedirectHandler("/icon.svg", http.StatusFound)) // browsers ask without being told
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(told)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // files change with the program, and have no version in their names
		if strings.HasSuffix(r.URL.Path, ".webmanifest") {
			h.Set("Content-Type", "application/manifest+json")
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// policy is the page's content security policy.
func (c *Config) policy() (string, error) {
	connect, scripts := []string{"'self'"}, []string{"'self'"}
	for _, a := range []struct {
		address string
		allowed *[]string
	}{{c.Server, &connect}, {c.CloudURL, &connect}, {c.PlanetKit, &scripts}} {
		origin, err := originOf(a.address)
		if err != nil {
			return "", err
		}
		if origin != "" {
			*a.allowed = append(*a.allowed, origin)
		}
	}
	if c.Server == "" {
		connect = append(connect, "https:") // it is typed in
	}
	switch c.Cloud {
	case "sim":
		if c.CloudURL == "" {
			return "", fmt.Errorf(`the softphone's configuration: "cloud" is "sim", and "cloudURL" does not say where the simulator is`)
		}
	case "planetkit":
		// Planet Cloud's gateway is named by its answers, not by its documentation.
		connect = append(connect, "https://*.line-apps.com", "https://*.line-apps-rc.com", "wss:")
	default:
		return "", fmt.Errorf(`the softphone's configuration: "cloud" is %q, want "planetkit" or "sim"`, c.Cloud)
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + strings.Join(scripts, " "), "style-src 'self'", "img-src 'self'", "manifest-src 'self'", "worker-src 'self'",
		"media-src 'self' blob:", "connect-src " + strings.Join(connect, " "), "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; "), nil
}

// originOf is the origin of an address; "" if it is relative to the page.
func originOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || strings.ContainsAny(address, " ;,\r\n\t") || (u.Scheme != "" || u.Host != "") && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return "", fmt.Errorf("the softphone's configuration: %q is no address: write a path, or https:// and a host", address)
	}
	if u.Host == "" {
		return "", nil
	}
	return u.Scheme + "://" + u.Host, nil
}
