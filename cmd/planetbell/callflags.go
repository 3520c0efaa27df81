package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// callFilter are the flags of "call list" that say which calls are meant, beside whose.
type callFilter struct {
	state   string
	outcome string
	since   string
	until   string
}

func (f *callFilter) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only calls in this state: ringing, ended or lost")
	flags.StringVar(&f.outcome, "outcome", "", "only calls that ended so: completed, canceled, declined, busy, missed, push_failed or failed")
	flags.StringVar(&f.since, "since", "", "only calls from then on: a time such as 2026-09-01T12:00:00Z, or how long ago, such as 24h")
	flags.StringVar(&f.until, "until", "", "only calls before then, in the same way")
	var states, outcomes []cobra.Completion
	for _, state := range console.CallStates() {
		states = append(states, string(state))
	}
	for _, outcome := range planet.Outcomes() {
		outcomes = append(outcomes, string(outcome))
	}
	complete(cmd, "state", fixed(states...))
	complete(cmd, "outcome", fixed(outcomes...))
	complete(cmd, "since", cobra.NoFileCompletions)
	complete(cmd, "until", cobra.NoFileCompletions)
}

// query adds the flags to the parameters of the admin API, which checks them.
func (f *callFilter) query(query url.Values, now time.Time) {
	for name, value := range map[string]string{"state": f.state, "outcome": f.outcome, "since": ago(f.since, now), "until": ago(f.until, now)} {
		if value != "" {
			query.Set(name, value)
		}
	}
}

// ago makes a time of "how long ago", and leaves everything else as it is.
func ago(text string, now time.Time) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	return now.Add(-d).UTC().Format(time.RFC3339Nano)
}

// language is the flag that chooses the language of explanations.
type language string

func (l *language) add(cmd *cobra.Command) {
	cmd.Flags().StringVar((*string)(l), "lang", string(planet.English), "language in which the end of a call is explained: en or ja")
	complete(cmd, "lang", fixed("en", "ja"))
}

func (l *language) parse() (planet.Language, error) {
	parsed, err := planet.ParseLanguage(string(*l))
	if err != nil {
		return "", fmt.Errorf("--lang: %w", err)
	}
	return parsed, nil
}

// inLanguage returns one of the two texts.
func inLanguage(s *console.Sentences, l planet.Language) string {
	switch {
	case s == nil:
		return ""
	case l == planet.Japanese:
		return s.Japanese
	}
	return s.English
}
