package call

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// noticeWindow is how long devices are tried to be told of a notice that says nothing else.
// A provider may keep it for longer (bell.Ring.KeptUntil).
const noticeWindow = 3 * time.Minute

// Tell records a notice with one delivery for each device of its callee that can show it, on
// disk, and starts to tell them. It does not wait for any provider, and returns how many
// devices are told now: 0 also for a repeat, and when there is no device, of which nothing is
// recorded.
//
// An invitation that the policy suppresses is recorded without deliveries, and told to
// nobody; devices is then what it would be else, so that the inviter learns nothing of rules.
//
// The caller gives Environment, Project, Caller, Callee, About, and what the purpose needs. A
// Deadline is needed if there is something to join; without one it is tried for a few
// minutes. The SessionID may be given; else it is made of purpose, environment, About, Room
// and Callee, so that the same is told once, or, if About is empty, is a new one each time.
//
// The error kind is bell.Invalid for what is no notice or has no user to be told, bell.Overload
// when there is no room, and bell.Unavailable when the store is in trouble. It may be told all
// the same after bell.Unavailable; a repeat with the same SessionID is safe.
func (s *Service) Tell(ctx context.Context, notice bell.Call) (devices int, err error) {
	return s.tell(ctx, notice, notice.Purpose == bell.PurposeInvitation)
}

// tell is Tell; rules says whether the callee's rules are asked.
func (s *Service) tell(ctx context.Context, notice bell.Call, rules bool) (devices int, err error) {
	now := s.now()
	project, ok := s.projects.Reaching(notice.Environment, notice.Callee.ServiceID)
	if !ok || notice.Purpose == bell.PurposeCall || notice.Callee.UserID == "" {
		return 0, bell.E(bell.Invalid, "This is no notice, or it is for nobody whom this server knows.", nil)
	}
	prepare(&notice, project, now)
	decided := func() bell.Suppression { return bell.RingsAll }
	if rules {
		decided = s.askNotice(ctx, project, &notice)
	}
	known, err := s.read(ctx, notice.CalleeOwner())
	notice.Suppressed = decided()
	if err != nil {
		return 0, fmt.Errorf("look up the devices of %s: %w", notice.Callee, err)
	}
	chosen, _ := choose(audience(known, notice.Purpose, project), now)
	if len(chosen) == 0 {
		s.metrics.noticed(notice.Purpose, "no_device")
		return 0, nil
	}
	rings := s.rings(&notice, chosen, now)
	if err := s.bells.Admit(rings); err != nil {
		return 0, err
	}
	recorded := rings
	if notice.Suppressed != bell.RingsAll {
		recorded = nil
	}
	found, err := s.recordNotice(ctx, notice, recorded)
	if err != nil || found != Began {
		s.bells.Dismiss(rings)
		if err == nil {
			s.metrics.noticed(notice.Purpose, "repeated")
		}
		return 0, err
	}
	devices = ringing(rings) // counted before: what is started is not ours any more
	if notice.Suppressed != bell.RingsAll {
		s.bells.Dismiss(rings)
		s.metrics.noticed(notice.Purpose, "suppressed")
		return devices, nil
	}
	s.metrics.noticed(notice.Purpose, "told")
	if s.watch.begins(&notice, now) {
		s.sayDevices(rings)
	}
	s.bells.Start(rings)
	return devices, nil
}

// askNotice asks the policy about a notice, as Ring does about a call. The returned
// function waits for its decision; it must be called. A name that the notice has, and its
// keys, stay.
func (s *Service) askNotice(ctx context.Context, project *bell.Project, n *bell.Call) func() bell.Suppression {
	decided := s.ask(ctx, project, n)
	return func() bell.Suppression {
		said := *n
		suppress := decided(&said)
		n.CallerName = cmp.Or(n.CallerName, said.CallerName)
		return suppress
	}
}

// prepare fills in what a notice has whatever it tells. It never has a cc_param, and its name
// is safe to show, wherever it comes from.
func prepare(n *bell.Call, project *bell.Project, now time.Time) {
	switch {
	case n.SessionID != "":
	case n.About == "":
		n.SessionID = planet.SessionID(bell.NewID())
	default:
		n.SessionID = bell.NoticeID(n)
	}
	if n.Project == "" {
		n.Project = project.Name
	}
	if n.Deadline.IsZero() {
		n.Deadline = now.Add(noticeWindow)
	}
	n.Label, n.State, n.NotifiedAt, n.CCParam = project.EnvironmentLabel, bell.CallNotice, now, ""
	n.CallerName = bell.CleanName(n.CallerName)
}

// audience are the devices that can be told, each as it is reached for that: an iPhone that
// must not be told by a VoIP push has another token for alerts, or is left out; so is what
// polls and does not know notices, as LINE's apps.
func audience(devices []bell.Device, purpose bell.Purpose, project *bell.Project) []bell.Device {
	told := make([]bell.Device, 0, len(devices))
	for _, d := range devices {
		if d.Channel == bell.LongPoll && !d.Notices {
			continue
		}
		if !project.Tells(purpose, d.Channel) {
			d = d.Over(bell.APNsAlert)
		}
		told = append(told, d)
	}
	return told
}

func (s *Service) recordNotice(ctx context.Context, notice bell.Call, rings []bell.Ring) (BeginResult, error) {
	deliveries := make([]bell.Delivery, len(rings))
	for i := range rings {
		deliveries[i] = rings[i].Delivery
	}
	ctx, cancel := context.WithTimeoutCause(ctx, writeBudget, errTooSlow)
	defer cancel()
	found, err := s.store.BeginCall(ctx, notice, deliveries, nil)
	if err != nil {
		return 0, fmt.Errorf("record a notice for %s: %w", notice.Callee, err)
	}
	return found, nil
}
