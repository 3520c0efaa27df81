package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
)

// newRoomCommand makes "planetbell room".
func newRoomCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "room",
		Short: "List group calls, show who was in one, remove users, send a message",
		Args:  noArgs,
		RunE:  showHelp,
	}
	asked := []*cobra.Command{newRoomListCommand(admin), newRoomShowCommand(admin)} // of the server
	for _, c := range asked {
		admin.add(c)
	}
	cmd.AddCommand(append(asked, newRoomKickCommand(admin), newRoomMessageCommand(admin))...)
	return cmd
}

func newRoomListCommand(admin *adminFlags) *cobra.Command {
	var who selection
	var roomID, before string
	var open bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs of rooms, the newest first",
		Long: `List runs of rooms, the newest first. A room is used again and again; each run of it
is one group call with a session ID of its own.`,
		Example: "  planetbell room list --open",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			query, err := who.query(cmd.Context(), client)
			if err != nil {
				return err
			}
			for name, value := range map[string]string{"room_id": roomID, "before": before} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if open {
				query.Set("state", string(bell.RoomOpen))
			}
			list := console.RoomRunList{Runs: []console.RoomRun{}}
			list.Next, err = pages(query, "before", who.limit, func() (int, string, error) {
				page, err := client.Rooms(cmd.Context(), query)
				list.Runs = append(list.Runs, page.Runs...)
				return len(page.Runs), page.Next, err
			})
			if err != nil {
				return err
			}
			return admin.showRooms(cmd, list)
		},
	}
	who.add(admin, cmd, 20)
	cmd.Flags().StringVar(&roomID, "room", "", "only of this room ID")
	cmd.Flags().BoolVar(&open, "open", false, "only those that are going on")
	cmd.Flags().StringVar(&before, "before", "", "continue where an earlier list ended")
	complete(cmd, "room", cobra.NoFileCompletions)
	complete(cmd, "before", cobra.NoFileCompletions)
	return cmd
}

func (a *adminFlags) showRooms(cmd *cobra.Command, list console.RoomRunList) error {
	if a.json {
		return printJSON(cmd.OutOrStdout(), list)
	}
	if len(list.Runs) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is no such group call. They appear when Planet Cloud calls on_gcall_evt_cb; planetbell config urls prints it to be registered.")
		return err
	}
	now := a.now()
	rows := [][]string{{"WHEN", "SID", "ROOM", "HOST", "ONLINE", "PARTICIPANTS", "STATE"}}
	for i := range list.Runs {
		r := &list.Runs[i]
		rows = append(rows, []string{
			moment(now, r.HeardAt), string(r.SID), roomName(r), hostOf(r), online(r), strconv.Itoa(r.ParticipantCount), roomState(r),
		})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	if list.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more: add --before %s, or a higher --limit.\n", clean(list.Next))
	}
	return nil
}

func newRoomShowCommand(admin *adminFlags) *cobra.Command {
	var environment string
	var limit int
	cmd := &cobra.Command{
		Use:   "show SERVICE/ROOM [SID]",
		Short: "Show a group call and who was in it",
		Long: `Show one run of a room and its participants: the run with the session ID SID, or the
newest one. SERVICE/ROOM is the service ID and the room ID, as planetbell room list shows them.`,
		Example: "  planetbell room show my-service/team-room",
		Args:    usage(cobra.RangeArgs(1, 2), "give a room as SERVICE/ROOM, as planetbell room list shows it, and perhaps a session ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, room, found := strings.Cut(args[0], "/")
			if !found || service == "" || room == "" || limit < 1 {
				return errors.New("want a room as SERVICE/ROOM, as planetbell room list shows it, and a --limit of at least 1")
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			if environment != "" {
				query.Set("environment", environment)
			}
			sid := ""
			if len(args) > 1 {
				sid = args[1]
			}
			story, err := client.roomStory(cmd, [3]string{service, room, sid}, query, limit)
			if err != nil {
				return err
			}
			return admin.showRoom(cmd, &story)
		},
	}
	cmd.Flags().StringVar(&environment, "environment", "", "evaluation or real; without it the newest run is shown")
	cmd.Flags().IntVar(&limit, "limit", 200, "how many participants to show at most")
	complete(cmd, "environment", fixed("evaluation", "real"))
	complete(cmd, "limit", cobra.NoFileCompletions)
	return cmd
}

// roomStory reads a run, by its service, room and session ID, with its participants. Without a
// session ID it is the newest.
func (c *adminClient) roomStory(cmd *cobra.Command, which [3]string, query url.Values, limit int) (console.RoomRunStory, error) {
	if which[2] == "" {
		newest := url.Values{"limit": {"1"}, "environment": query["environment"]}
		list, err := c.RoomRuns(cmd.Context(), which[0], which[1], newest)
		if err != nil {
			return console.RoomRunStory{}, err
		}
		if len(list.Runs) == 0 {
			return console.RoomRunStory{}, errors.New("there is no group call of this room; planetbell room list shows what there is")
		}
		which[2] = string(list.Runs[0].SID)
		query.Set("environment", string(list.Runs[0].Environment))
	}
	story := console.RoomRunStory{}
	people := []console.Participant{}
	next, err := pages(query, "after", limit, func() (int, string, error) {
		page, err := c.RoomRun(cmd.Context(), which, query)
		story.Run = page.Run
		people = append(people, page.Participants...)
		return len(page.Participants), page.Next, err
	})
	story.Participants, story.Next = people, next
	return story, err
}

func (a *adminFlags) showRoom(cmd *cobra.Command, story *console.RoomRunStory) error {
	if a.json {
		return printJSON(cmd.OutOrStdout(), story)
	}
	now, r, out := a.now(), &story.Run, cmd.OutOrStdout()
	fmt.Fprintf(out, "Room %s in %s, session %s\n\n", clean(roomName(r)), r.Environment, clean(string(r.SID)))
	facts := [][]string{
		{"State", roomState(r)},
		{"Host", hostOf(r)},
		{"Started", moment(now, r.StartedAt)},
		{"Ended", moment(now, r.EndedAt)},
		{"Last event", moment(now, r.LastEventAt)},
		{"Online", online(r)},
	}
	if r.Online != nil && r.State == bell.RoomOpen && *r.Online != r.Present {
		facts = append(facts, []string{"", fmt.Sprintf("of whom %d are known: events were lost", r.Present)})
	}
	if r.Crowded {
		facts = append(facts, []string{"", "more participants than are kept"})
	}
	if err := table(out, facts); err != nil {
		return err
	}
	rows := [][]string{{"PARTICIPANT", "NAME", "STATE", "JOINED", "LEFT", "CLIENT", "MEDIA", "WHY LEFT"}}
	for i := range story.Participants {
		p := &story.Participants[i]
		rows = append(rows, []string{
			userName(console.User{ServiceID: p.ServiceID, UserID: p.UserID}), cmp.Or(p.DisplayName, "-"), string(p.State),
			moment(now, p.JoinedAt), moment(now, p.LeftAt), cmp.Or(p.UEType, "-"), cmp.Or(p.Media, "-"), whyLeft(p),
		})
	}
	fmt.Fprintln(out)
	if err := table(out, rows); err != nil {
		return err
	}
	if story.Next != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "There are more participants: give a higher --limit.")
	}
	return nil
}

func whyLeft(p *console.Participant) string {
	switch {
	case p.Release != nil && len(p.Release.Reasons) > 0:
		reason := &p.Release.Reasons[0]
		return fmt.Sprintf("%s %d %s", reason.Family, reason.Code, cmp.Or(reason.Meaning, reason.Name))
	case p.TimedOut:
		return "timed out"
	}
	return "-"
}

func roomName(r *console.RoomRun) string {
	if r.RoomID == "" {
		return "unknown"
	}
	return r.ServiceID + "/" + r.RoomID
}

func hostOf(r *console.RoomRun) string {
	if r.Host == nil {
		return "unknown"
	}
	return userName(*r.Host)
}

func online(r *console.RoomRun) string {
	if r.Online == nil {
		return "unknown"
	}
	return strconv.Itoa(*r.Online)
}

// roomEnds say why a run is closed.
var roomEnds = map[bell.RoomEnd]string{
	bell.RoomEnded: "ended", bell.RoomEmpty: "ended, by its last leave", bell.RoomSilent: "given up, nothing was heard for long",
}

func roomState(r *console.RoomRun) string {
	if r.State == bell.RoomOpen {
		return "open"
	}
	return cmp.Or(roomEnds[r.Reason], string(r.State))
}
