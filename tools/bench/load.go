package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// closedLoop calls do from n workers, each again as soon as it returned, until length
// has passed. It returns the rate and how long each took.
func closedLoop(ctx context.Context, n int, length time.Duration, do func(worker, number int) error) (float64, []time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		all   []time.Duration
		errs  []error
	)
	start := time.Now()
	for worker := range n {
		group.Go(func() {
			var took []time.Duration
			var failed error
			for number := 0; ctx.Err() == nil && failed == nil; number++ {
				begin := time.Now()
				failed = do(worker, number)
				took = append(took, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			errs = append(errs, failed)
		})
	}
	group.Wait()
	return float64(len(all)) / time.Since(start).Seconds(), all, errors.Join(errs...)
}

// openLoop starts do at a fixed rate, whether or not earlier ones have returned, so that
// a slow answer does not hide the ones behind it. planned is when do should have begun:
// latency counts from there.
func openLoop(ctx context.Context, perSecond int, length time.Duration, do func(number int, planned time.Time) error) error {
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		errs  []error
	)
	gap := time.Second / time.Duration(perSecond)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for number := range int(length.Seconds() * float64(perSecond)) {
		planned := start.Add(time.Duration(number) * gap)
		if d := time.Until(planned); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-ctx.Done():
				group.Wait()
				return ctx.Err()
			}
		}
		group.Go(func() {
			if err := do(number, planned); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// newClient keeps enough idle connections that no request of the load dials anew.
func newClient() *http.Client {
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024},
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return errors.New("the request failed")
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
