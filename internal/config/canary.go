package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Canary is a synthetic call, made again and again by each process, from the callback to a
// client that polls.
type Canary struct {
	// Name is the operator's name for it, unique, in logs and metrics: 1 to 32 of a-z, 0-9, hyphen.
	Name string `koanf:"name"`
	// Project is the name of the project that is called.
	Project string `koanf:"project"`
	// CallerUserID is a user ID of the project's service that nobody else has. It is in the call
	// log: choose a name that people understand.
	CallerUserID string `koanf:"caller_user_id"`
	// CalleeUserID is another one. Where several nodes share a database, each adds a hyphen and 8
	// digits to it.
	CalleeUserID string `koanf:"callee_user_id"`
	// Every is how often it calls. 1 minute to 24 hours.
	Every time.Duration `koanf:"every" default:"5m" min:"1m" max:"24h"`
	// Timeout is what one call may take. 1 to 50 seconds.
	Timeout time.Duration `koanf:"timeout" default:"15s" min:"1s" max:"50s"`
	// CallbackURL is where its callbacks go, without the path that begins with /cb: name the proxy
	// in front here. Empty: public.base_url.
	CallbackURL string `koanf:"callback_url"`
}

// nodeDigits is how much of a user ID a node adds.
const nodeDigits = 9

// CalleeOf is the user ID of the callee at a node; with an empty name, of the only process.
func (c *Canary) CalleeOf(node string) string {
	if node == "" {
		return c.CalleeUserID
	}
	sum := sha256.Sum256([]byte(node))
	return c.CalleeUserID + "-" + hex.EncodeToString(sum[:4])
}

// Base is where its callbacks go, without a trailing slash.
func (c *Canary) Base(p Public) string {
	if c.CallbackURL != "" {
		return strings.TrimRight(c.CallbackURL, "/")
	}
	return p.ExternalURL()
}

func (c *checker) canaries(cfg *Config) {
	for i := range cfg.Canaries {
		c.canary(cfg, &cfg.Canaries[i], fmt.Sprintf("canaries[%d]", i))
	}
	same(cfg.Canaries, func(y *Canary) string { return y.Name }, func(i, first int) {
		c.wrong(fmt.Sprintf("canaries[%d].name", i), fmt.Sprintf("%s is also the name of canaries[%d]; give each its own.", quote(cfg.Canaries[i].Name), first))
	})
	same(cfg.Canaries, func(y *Canary) string { return y.Project + " " + y.CalleeUserID }, func(i, first int) {
		c.wrong(fmt.Sprintf("canaries[%d].callee_user_id", i), fmt.Sprintf("is also that of canaries[%d]; each needs a callee of its own.", first))
	})
}

func (c *checker) canary(cfg *Config, y *Canary, at string) {
	if message := ValidateProjectName(y.Name); message != "" {
		c.wrong(at+".name", message)
	}
	if !slices.ContainsFunc(cfg.Projects, func(p Project) bool { return p.Name == y.Project }) {
		c.wrong(at+".project", quote(y.Project)+" is not the name of a project.")
	}
	for name, id := range map[string]string{"caller_user_id": y.CallerUserID, "callee_user_id": y.CalleeUserID} {
		if err := planet.ValidateUserID(id); err != nil {
			c.wrong(at+"."+name, err.Error()+".")
		}
	}
	if y.CallerUserID != "" && y.CallerUserID == y.CalleeUserID {
		c.wrong(at+".callee_user_id", "is the same as caller_user_id; nobody calls themselves.")
	}
	if cfg.Database.URL != "" && len(y.CalleeUserID) > 64-nodeDigits {
		c.wrong(at+".callee_user_id", "is longer than 55 characters; each node of a shared database adds 9.")
	}
	if y.Timeout >= y.Every {
		c.wrong(at+".timeout", "want less than every.")
	}
	if y.CallbackURL != "" {
		c.serverURL(at+".callback_url", y.CallbackURL)
	}
}
