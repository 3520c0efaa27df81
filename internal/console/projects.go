package console

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func (c *console) listProjects(w http.ResponseWriter, _ *http.Request) error {
	list := ProjectList{Projects: []Project{}}
	for _, p := range c.services.Projects.All() {
		list.Projects = append(list.Projects, Project{
			Name: p.Name, Environment: p.Environment, ServiceID: p.ServiceID,
			EnvironmentLabel: p.EnvironmentLabel,
			CallbackURL:      c.callbackURL(p),
			Channels:         append([]bell.Channel{}, c.Channels(p)...),
		})
	}
	return writeJSON(w, http.StatusOK, list)
}

// callbackURL is where Notify comes, its secret masked.
func (c *console) callbackURL(p *bell.Project) string {
	return strings.TrimSuffix(c.PublicURL, "/") + "/cb/" + mask(p.CallbackSecret) + "/notify"
}

// mask stands for a callback secret: its fingerprint tells two apart and opens nothing.
func mask(s planet.Secret) string { return "***" + s.Fingerprint() + "***" }

// mintAccessToken is the one place that hands out a token. Who asked for whose is in
// the log; the token is not.
func (c *console) mintAccessToken(w http.ResponseWriter, r *http.Request) error {
	var in AccessTokenRequest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	project, err := c.project(in.Project)
	if err != nil {
		return err
	}
	issued := c.Now()
	token, err := c.services.Tokens.MintFor(r.Context(), project, in.UserID)
	if err != nil {
		return err
	}
	note(r.Context(), slog.String("minted_for", in.UserID), slog.String("project", project.Name))
	return writeJSON(w, http.StatusOK, AccessToken{
		AccessToken: SentSecret{token}, Project: project.Name,
		ServiceID: project.ServiceID, UserID: in.UserID, IssuedAt: issued.UTC(),
	})
}
