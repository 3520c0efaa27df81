package config

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// PolicyHook is the customer's own endpoint, asked before a call rings (docs/policy.md).
type PolicyHook struct {
	// URL is asked by POST. Empty: none. It is never logged.
	URL string `koanf:"url"`
	// Secret signs the questions by the scheme of Standard Webhooks: "whsec_" and 24 to 64
	// bytes in base64.
	Secret planet.Secret `koanf:"secret"`
	// Timeout is how long a call waits for the answer; then it rings. 10 ms to 1 second.
	Timeout time.Duration `koanf:"timeout" default:"150ms" min:"10ms" max:"1s"`
	// CacheMax is how long an answer is used again at most, if its Cache-Control allows. 0 to
	// 1 hour.
	CacheMax time.Duration `koanf:"cache_max" default:"5m" min:"0s" max:"1h"`
}

// policyHook checks the hook's URL and secret.
func (c *checker) policyHook(h *PolicyHook, at string) {
	if h.URL == "" {
		if h.Secret != "" {
			c.warn(at+".secret", "is set, but there is no url: no hook is asked.")
		}
		return
	}
	c.serverURL(at+".url", h.URL)
	const howTo = "make one with `echo \"whsec_$(openssl rand -base64 32)\"`."
	encoded, found := strings.CutPrefix(h.Secret.Reveal(), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case h.Secret == "":
		c.wrong(at+".secret", "is missing; your endpoint checks with it that questions come from here: "+howTo)
	case !found || err != nil || len(key) < 24 || len(key) > 64:
		c.wrong(at+".secret", `want "whsec_" followed by 24 to 64 bytes in base64; `+howTo)
	}
}
