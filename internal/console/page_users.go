package console

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/device"
)

const (
	devicesPerPage = 50
	callsOfUser    = 10
	deviceHistory  = 50 // of a user's calls are looked at for what one device was told
)

// pageUsers lists devices, and finds users by them.
func (s *site) pageUsers(w http.ResponseWriter, r *http.Request) error {
	f := s.frame(r, "users", words(r).T("nav.users"))
	body := pages.Users{User: f.Query.Get("user_id"), Channels: pages.Choices(f.Words, "channel", Channels(), f.Query.Get("channel"))}
	body.Projects = pages.Choices(f.Words, "", s.serviceIDs(), f.Query.Get("service_id"))
	known, err := pageQuery(r, "environment", "service_id", "user_id", "channel", "after")
	var q deviceQuery
	if err == nil {
		q, err = parseDeviceQuery(known.values.Encode())
	}
	if err != nil {
		body.Wrong = problemOf(r.Context(), err).Detail
		return s.show(w, r, drawing{http.StatusBadRequest, "users", f, body})
	}
	devices, err := s.services.Devices.List(r.Context(), q.filter, q.after, devicesPerPage+1)
	if err != nil {
		return err
	}
	if len(devices) > devicesPerPage {
		devices = devices[:devicesPerPage]
		next := maps.Clone(f.Query)
		next.Set("after", devices[devicesPerPage-1].ID)
		body.Next = "/users?" + next.Encode()
	}
	body.Filter = q.filter != (device.Filter{})
	for i := range devices {
		body.Rows = append(body.Rows, pages.NewDeviceRow(f.Words, &devices[i], f.Now))
	}
	return s.show(w, r, drawing{page: "users", frame: f, body: body})
}

// serviceIDs are those of the projects, each once.
func (s *site) serviceIDs() (ids []string) {
	for _, p := range s.services.Projects.All() {
		if !slices.Contains(ids, p.ServiceID) {
			ids = append(ids, p.ServiceID)
		}
	}
	return ids
}

// pageUser says whether a user would ring now, and if not, why.
func (s *site) pageUser(w http.ResponseWriter, r *http.Request) error {
	project, userID, err := s.memberOf(r, func() (query, error) { return pageQuery(r, "environment") })
	if err != nil {
		return err
	}
	u, err := s.readiness(r.Context(), project, userID)
	if err != nil {
		return err
	}
	filter := call.Filter{Environment: u.owner.Environment, User: u.owner.User}
	calls, err := s.services.Calls.List(r.Context(), filter, call.Cursor{}, callsOfUser)
	if err != nil {
		return err
	}
	f := s.frame(r, "users", userID)
	return s.show(w, r, drawing{page: "user", frame: f, body: pages.NewUser(f.Words, &pages.UserOf{Owner: u.owner, Devices: u.devices, Quiet: u.quiet, Calls: calls, Now: f.Now})})
}

// pageDevice shows all about one device.
func (s *site) pageDevice(w http.ResponseWriter, r *http.Request) error {
	if _, err := pageQuery(r); err != nil {
		return err
	}
	d, err := s.device(r)
	if err != nil {
		return err
	}
	f := s.frame(r, "users", d.Owner.User.UserID)
	body, err := s.devicePage(r.Context(), f, &d)
	if err != nil {
		return err
	}
	return s.show(w, r, drawing{page: "device", frame: f, body: body})
}

// devicePage is a device as a call now would find it, among its user's others.
func (s *site) devicePage(ctx context.Context, f pages.Frame, d *bell.Device) (pages.Device, error) {
	devices, err := s.services.Devices.Of(ctx, d.Owner)
	if err != nil {
		return pages.Device{}, err
	}
	history, err := s.services.Figures.Rung(ctx, *d, deviceHistory)
	if err != nil {
		return pages.Device{}, err
	}
	for _, ready := range call.Ready(devices, f.Now, s.services.Route) {
		if ready.Device.ID == d.ID {
			return pages.NewDevice(f.Words, ready, history, f.Now), nil
		}
	}
	return pages.Device{}, bell.E(bell.NotFound, "There is no device with this ID.", nil) // it went away in this moment
}

// pageTestDevice sends a test to a device, and shows the provider's whole answer.
func (s *site) pageTestDevice(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	d, result, tried := s.try(r, form("call") == "yes")
	if d.ID == "" {
		return tried
	}
	f := s.frame(r, "users", d.Owner.User.UserID)
	body, err := s.devicePage(r.Context(), f, &d)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if tried != nil {
		problem := problemOf(r.Context(), tried)
		status, body.Test.Wrong = problem.Status, problem.Detail
	} else {
		body.Test.Answer(f.Words, &result)
	}
	return s.show(w, r, drawing{status, "device", f, body})
}
