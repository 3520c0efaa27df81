package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

// exitSilent is the exit code of "why" about a call that did not ring: neither a failure of
// the command nor a wrong use of it.
const exitSilent = 3

// around is how far from --at a call may have been.
const around = 15 * time.Minute

// mostAround bounds how many calls are looked at for the one nearest to --at.
const mostAround = 5000

// whyCalls say which calls are meant, if not by session ID.
type whyCalls struct {
	at    string
	since string
	until string
}

// newWhyCommand makes "planetbell why".
func newWhyCommand(admin *adminFlags) *cobra.Command {
	var who selection
	var which whyCalls
	var in language
	cmd := &cobra.Command{
		Use:   "why [SID]",
		Short: "Say why a phone rang, or did not",
		Long: `Say in one sentence why a call's phones rang, or did not; then what can be done, what the
record says, and the same of each device. SID is the session ID that clients, LINE Planet
and planetbell call list show. Without it --user says whose newest call is meant, --at the
one nearest to a time, and --since or --until all of a while.

The exit code is 0 when it rang, 3 when a call did not, and else as always.`,
		Example:           "  planetbell why 6364e8b3-bdac-436e-9631-0bce2498ce0c\n  planetbell why --user bob --at 2026-09-01T12:00:00Z\n  planetbell why --user bob --since 24h",
		Args:              usage(cobra.MaximumNArgs(1), "give one session ID, as planetbell call list shows it, or --user"),
		ValidArgsFunction: admin.sessionIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			lang, err := in.parse()
			if err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			var list console.VerdictList
			switch {
			case len(args) == 1:
				list, err = whyOne(cmd, client, args[0], &who)
			case who.user == "":
				return usageError(cmd, errors.New("give a session ID, or --user"))
			default:
				list, err = which.ask(cmd, client, &who, admin.now())
			}
			if err != nil {
				return err
			}
			return admin.showWhy(cmd, list, lang, len(args) == 1 || !which.many())
		},
	}
	admin.add(cmd)
	who.add(admin, cmd, 20)
	in.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&which.at, "at", "", "the user's call nearest to a time such as 2026-09-01T12:00:00Z, or to how long ago, such as 10m")
	flags.StringVar(&which.since, "since", "", "all calls of the user from then on, in the same way")
	flags.StringVar(&which.until, "until", "", "all calls of the user before then, in the same way")
	cmd.MarkFlagsMutuallyExclusive("at", "since")
	cmd.MarkFlagsMutuallyExclusive("at", "until")
	for _, flag := range []string{"at", "since", "until"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

// whyOne asks for one call.
func whyOne(cmd *cobra.Command, client *adminClient, sid string, who *selection) (console.VerdictList, error) {
	query, err := who.query(cmd.Context(), client)
	if err != nil {
		return console.VerdictList{}, err
	}
	only := url.Values{}
	if environment := query.Get("environment"); environment != "" {
		only.Set("environment", environment)
	}
	v, err := client.Verdict(cmd.Context(), sid, only)
	return console.VerdictList{Verdicts: []console.CallVerdict{v}}, err
}

// many reports whether more than one call is meant.
func (w *whyCalls) many() bool { return w.since != "" || w.until != "" }

// ask asks for a user's calls.
func (w *whyCalls) ask(cmd *cobra.Command, client *adminClient, who *selection, now time.Time) (console.VerdictList, error) {
	query, err := who.query(cmd.Context(), client)
	if err != nil {
		return console.VerdictList{}, err
	}
	limit := who.limit
	switch {
	case w.at != "":
		at, err := time.Parse(time.RFC3339, ago(w.at, now))
		if err != nil {
			return console.VerdictList{}, errors.New("--at: want a time such as 2026-09-01T12:00:00Z, or how long ago, such as 10m")
		}
		return whyNearest(cmd.Context(), client, query, at)
	case w.many():
		for name, value := range map[string]string{"since": ago(w.since, now), "until": ago(w.until, now)} {
			if value != "" {
				query.Set(name, value)
			}
		}
	default:
		limit = 1
	}
	list := console.VerdictList{Verdicts: []console.CallVerdict{}}
	list.Next, err = pages(query, "before", limit, func() (int, string, error) {
		page, err := client.Verdicts(cmd.Context(), query)
		list.Verdicts = append(list.Verdicts, page.Verdicts...)
		return len(page.Verdicts), page.Next, err
	})
	if err == nil && len(list.Verdicts) == 0 {
		return list, noCallThen(who.user)
	}
	return list, err
}

func noCallThen(user string) error {
	return fmt.Errorf("there is no call of %s then: check the user ID and the time; if they are right, Planet Cloud never reached this server about it (planetbell config urls prints the callback URLs)", clean(user))
}

// whyNearest asks for the one of a user's calls that is nearest to a time. Lists are newest first,
// so it reads on until a call is not later than that time: all after it are farther away.
func whyNearest(ctx context.Context, client *adminClient, query url.Values, at time.Time) (console.VerdictList, error) {
	query.Set("since", at.Add(-around).UTC().Format(time.RFC3339Nano))
	query.Set("until", at.Add(around).UTC().Format(time.RFC3339Nano))
	var calls []console.Call
	rest, err := pages(query, "before", mostAround, func() (int, string, error) {
		page, err := client.Calls(ctx, query)
		calls = append(calls, page.Calls...)
		if n := len(calls); n > 0 && !when(&calls[n-1]).After(at) {
			return len(page.Calls), "", err
		}
		return len(page.Calls), page.Next, err
	})
	user := query.Get("user_id")
	switch {
	case err != nil:
		return console.VerdictList{}, err
	case rest != "":
		return console.VerdictList{}, fmt.Errorf("%s had more than %d calls in the %d minutes after that time: give the session ID, as planetbell call list --until shows it", clean(user), mostAround, int(around/time.Minute))
	case len(calls) == 0:
		return console.VerdictList{}, noCallThen(user)
	}
	nearest := slices.MinFunc(calls, func(a, b console.Call) int {
		return cmp.Compare(when(&a).Sub(at).Abs(), when(&b).Sub(at).Abs())
	})
	v, err := client.Verdict(ctx, string(nearest.SID), url.Values{"environment": {string(nearest.Environment)}})
	return console.VerdictList{Verdicts: []console.CallVerdict{v}}, err
}

// when is a call's place in lists.
func when(c *console.Call) time.Time {
	if c.NotifiedAt.IsZero() {
		return c.EndedAt
	}
	return c.NotifiedAt
}

// showWhy prints verdicts; whole says that of the only one everything is told. The error says
// that a call did not ring.
func (a *adminFlags) showWhy(cmd *cobra.Command, list console.VerdictList, lang planet.Language, whole bool) error {
	var err error
	switch {
	case a.json && whole:
		err = printJSON(cmd.OutOrStdout(), list.Verdicts[0])
	case a.json:
		err = printJSON(cmd.OutOrStdout(), list)
	case whole:
		_, err = fmt.Fprint(cmd.OutOrStdout(), tellWhy(&list.Verdicts[0], a.now(), lang))
	default:
		err = whyTable(cmd, list, a.now(), lang)
	}
	if err == nil && slices.ContainsFunc(list.Verdicts, func(v console.CallVerdict) bool { return !v.Verdict.Rang }) {
		return &exitError{code: exitSilent}
	}
	return err
}

func whyTable(cmd *cobra.Command, list console.VerdictList, now time.Time, lang planet.Language) error {
	rows := [][]string{{"WHEN", "SID", "CALLER", "CALLEE", "RANG", "CODE", "WHY"}}
	for _, v := range list.Verdicts {
		c := &v.Call
		rows = append(rows, []string{
			moment(now, when(c)), string(c.SID), userName(c.Caller), userName(c.Callee), yesNo(v.Verdict.Rang), string(v.Verdict.Code), v.Verdict.Sentence.In(lang),
		})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	if list.Next != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "There are more: give a higher --limit, or --until.")
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// whyWords are the headings, by language.
var whyWords = map[planet.Language]struct{ fix, code, evidence, devices, took, said string }{
	planet.English:  {"What to do: ", "Code: %s, decided at: %s, call %s, %s", "What the record says:", "Devices:", "taken after %s", "received after %s"},
	planet.Japanese: {"対応: ", "コード: %s、判定箇所: %s、通話 %s、%s", "記録:", "端末:", "受け付け %s", "受信 %s"},
}

// tellWhy is a verdict for people: the sentence first.
func tellWhy(cv *console.CallVerdict, now time.Time, lang planet.Language) string {
	var b strings.Builder
	v, c, words := &cv.Verdict, &cv.Call, whyWords[lang]
	line(&b, "%s", v.Sentence.In(lang))
	if fix := v.Fix.In(lang); fix != "" {
		line(&b, "%s%s", words.fix, fix)
	}
	b.WriteByte('\n')
	line(&b, words.code, v.Code, v.Hop, c.SID, moment(now, when(c)))
	if len(v.Evidence) > 0 {
		b.WriteByte('\n')
		line(&b, "%s", words.evidence)
	}
	for i := range v.Evidence {
		e := &v.Evidence[i]
		after := ""
		if !c.NotifiedAt.IsZero() && !e.At.IsZero() {
			after = " (+" + length(e.At.Sub(c.NotifiedAt)) + ")"
			if e.At.Before(c.NotifiedAt) {
				after = " (" + length(e.At.Sub(c.NotifiedAt)) + ")"
			}
		}
		line(&b, "    %s%s  %s", e.At.In(now.Location()).Format("15:04:05.000"), after, e.What.In(lang))
	}
	if len(v.Devices) > 0 {
		b.WriteByte('\n')
		line(&b, "%s", words.devices)
	}
	for i := range v.Devices {
		line(&b, "    %s", deviceWhy(&v.Devices[i], lang))
	}
	return b.String()
}

// deviceWhy is one device's line.
func deviceWhy(d *verdict.DeviceVerdict, lang planet.Language) string {
	words := whyWords[lang]
	times := []string{yesNo(d.Rang), string(d.Code)}
	if d.ToAccept > 0 {
		times = append(times, fmt.Sprintf(words.took, length(time.Duration(d.ToAccept))))
	}
	if d.ToReceipt > 0 {
		times = append(times, fmt.Sprintf(words.said, length(time.Duration(d.ToReceipt))))
	}
	return fmt.Sprintf("%s %s (%s): %s", d.Name, d.DeviceID, strings.Join(times, ", "), d.Sentence.In(lang))
}
