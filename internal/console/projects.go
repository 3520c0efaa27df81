package console

import (
	"net/http"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func (a *api) listProjects(w http.ResponseWriter, _ *http.Request) error {
	list := ProjectList{Projects: []Project{}}
	for _, p := range a.services.Projects.All() {
		list.Projects = append(list.Projects, Project{
			Name: p.Name, Environment: p.Environment, ServiceID: p.ServiceID,
			EnvironmentLabel: p.EnvironmentLabel,
			CallbackURL:      a.callbackURL(p),
			Channels:         append([]bell.Channel{}, a.Channels(p)...),
		})
	}
	return writeJSON(w, http.StatusOK, list)
}

// mask stands for a callback secret: its fingerprint tells two apart and opens nothing.
func mask(s planet.Secret) string { return "***" + s.Fingerprint() + "***" }

// mintAccessToken is the one place that hands out a token. Who asked for whose is in
// the log; the token is not.
func (a *api) mintAccessToken(w http.ResponseWriter, r *http.Request) error {
	var in AccessTokenRequest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	project, err := a.project(in.Project)
	if err != nil {
		return err
	}
	noteUser(r.Context(), "minted_for", in.UserID, project)
	issued := a.Now()
	token, err := a.services.Tokens.MintFor(r.Context(), project, in.UserID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, AccessToken{
		AccessToken: SentSecret{token}, Project: project.Name,
		ServiceID: project.ServiceID, UserID: in.UserID, IssuedAt: issued.UTC(),
	})
}
