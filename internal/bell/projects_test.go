package bell_test

import (
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func project(name string, seed int) *bell.Project {
	return &bell.Project{
		Name: name, Environment: planet.Evaluation, ServiceID: "service-" + name,
		ClientKey:      planet.Secret(testlog.TextSecret("client-" + name)),
		CallbackSecret: planet.Secret(testlog.HexSecret(seed, 32)),
	}
}

func TestProjectsAreFoundByWhatRequestsCarry(t *testing.T) {
	red, blue := project("red", 1), project("blue", 2)
	blue.Environment, blue.ServiceID = planet.Real, red.ServiceID
	projects, err := bell.NewProjects([]*bell.Project{red, blue})
	if err != nil {
		t.Fatal(err)
	}
	find := func(p *bell.Project, ok bool) *bell.Project {
		if ok != (p != nil) {
			t.Errorf("found %v but project %v", ok, p)
		}
		return p
	}
	tests := []struct {
		name      string
		got, want *bell.Project
	}{
		{"name", find(projects.ByName("blue")), blue},
		{"unknown name", find(projects.ByName("green")), nil},
		{"callback secret", find(projects.ByCallbackSecret(red.CallbackSecret)), red},
		{"wrong callback secret", find(projects.ByCallbackSecret(red.CallbackSecret + "0")), nil},
		{"empty callback secret", find(projects.ByCallbackSecret("")), nil},
		{"client key", find(projects.ByClientKey(red.ServiceID, red.ClientKey)), red},
		{"client key of the same service elsewhere", find(projects.ByClientKey(red.ServiceID, blue.ClientKey)), blue},
		{"client key of another service", find(projects.ByClientKey("other", red.ClientKey)), nil},
		{"reaching", find(projects.Reaching(planet.Real, red.ServiceID)), blue},
		{"reaching no service", find(projects.Reaching(planet.Real, "other")), nil},
		{"reaching no environment", find(projects.Reaching("moon", red.ServiceID)), nil},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, test.got, test.want)
		}
	}
}

func TestAllProjectsCannotBeChangedThroughTheList(t *testing.T) {
	red, blue := project("red", 1), project("blue", 2)
	projects, err := bell.NewProjects([]*bell.Project{red, blue})
	if err != nil {
		t.Fatal(err)
	}
	list := projects.All()
	if len(list) != 2 || list[0] != red || list[1] != blue {
		t.Fatalf("All() = %v, want red and blue in the order given", list)
	}
	list[0] = nil
	if projects.All()[0] != red {
		t.Error("changing the list changed the projects")
	}
}

func TestProjectWithoutSecretsIsNotFoundByNothing(t *testing.T) {
	bare := &bell.Project{Name: "bare", ServiceID: "s"}
	projects, err := bell.NewProjects([]*bell.Project{bare, {Name: "bare too", ServiceID: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := projects.ByCallbackSecret(""); ok {
		t.Errorf("an empty callback secret opens %s", p.Name)
	}
	if p, ok := projects.ByClientKey("s", ""); ok {
		t.Errorf("an empty client key opens %s", p.Name)
	}
}

func TestProjectsThatCannotBeToldApartAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*bell.Project)
		want   string
	}{
		{"same name", func(p *bell.Project) { p.Name = "red" }, `two projects are named "red"`},
		{"same callback secret", func(p *bell.Project) { p.CallbackSecret = project("red", 1).CallbackSecret }, "the same callback secret"},
		{"same client key", func(p *bell.Project) {
			p.ServiceID, p.ClientKey = project("red", 1).ServiceID, project("red", 1).ClientKey
		}, "the same client key for service service-red"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			other := project("blue", 2)
			test.change(other)
			_, err := bell.NewProjects([]*bell.Project{project("red", 1), other})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one that says %q", err, test.want)
			}
			testlog.Keep(t, "error", err.Error())
			for _, canary := range []string{testlog.Hex, testlog.Text} {
				if strings.Contains(err.Error(), canary) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}
