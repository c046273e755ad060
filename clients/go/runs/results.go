package runs

import (
	"context"
	"io"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
)

// Results gives each result of a run once. Close it.
type Results struct {
	watch *Watch
	seen  map[uint64]bool
	came  []*runsv1.ItemResult
}

// Results follows the results of a run: by index, or as its items finish.
func (c *Client) Results(ctx context.Context, runID string, options WatchOptions) *Results {
	options.WithoutResults = false
	return &Results{watch: c.Watch(ctx, runID, options), seen: map[uint64]bool{}}
}

// Next waits for the next result. It returns io.EOF after the last one of a run that has ended.
func (r *Results) Next() (*runsv1.ItemResult, error) {
	for {
		for len(r.came) > 0 {
			result := r.came[0]
			r.came = r.came[1:]
			// A stream that begins anew repeats what has come.
			if !r.seen[result.ItemIndex] {
				r.seen[result.ItemIndex] = true
				return result, nil
			}
		}
		update, err := r.watch.Next()
		if err != nil {
			return nil, err
		}
		r.came = update.Results
	}
}

// Close stops following the run.
func (r *Results) Close() { r.watch.Close() }

// Wait follows a run to its end, and returns its last state with all results.
func (c *Client) Wait(ctx context.Context, runID string) (*runsv1.RunStatus, error) {
	watch := c.Watch(ctx, runID, WatchOptions{})
	defer watch.Close()
	var run *runsv1.RunStatus
	for {
		update, err := watch.Next()
		if err == io.EOF {
			return run, nil
		}
		if err != nil {
			return nil, err
		}
		run = update.Onto(run)
	}
}
