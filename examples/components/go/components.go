package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"strings"
	"time"
)

// The components, by their paths. What they return is the output of a step, and their errors fail it.
var components = map[string]component{"/count": count, "/count_all": countAll, "/wait": wait}

// How many words a text has.
func count(_ context.Context, input json.RawMessage, _ *execution) (any, error) {
	var text *string
	if json.Unmarshal(input, &text) != nil || text == nil {
		return nil, errors.New("expected a text")
	}
	return len(strings.Fields(*text)), nil
}

// What a run came to.
type runStatus struct {
	RunID   string `json:"runId"`
	Results []struct {
		Result struct {
			Outcome string `json:"outcome"`
			Value   int    `json:"value"`
			Error   struct {
				Message string `json:"message"`
			} `json:"error"`
		} `json:"result"`
	} `json:"results"`
}

// How many words all texts have, counted by a run of its own: one item for each text.
func countAll(ctx context.Context, input json.RawMessage, running *execution) (any, error) {
	var given struct{ Texts, Flow json.RawMessage }
	if err := json.Unmarshal(input, &given); err != nil {
		return nil, err
	}
	var blob struct {
		ID string `json:"blobId"`
	}
	if err := running.call(ctx, "blobs/put", params{"data": given.Flow, "blobType": "flow"}, &blob); err != nil {
		return nil, err
	}
	// With a key, another attempt finds the run of this one.
	submit := params{"flowId": blob.ID, "inputs": given.Texts, "maxConcurrency": 4, "subflowKey": "texts"}
	var run runStatus
	if err := running.call(ctx, "runs/submit", submit, &run); err != nil {
		return nil, err
	}
	log.Printf("count_all: run %s counts texts (attempt %d)", run.RunID, running.attempt)
	get := params{"runId": run.RunID, "wait": true, "includeResults": true}
	if err := running.call(ctx, "runs/get", get, &run); err != nil {
		return nil, err
	}
	return total(run)
}

func total(run runStatus) (any, error) {
	words := 0
	for _, item := range run.Results {
		if item.Result.Outcome != "success" {
			return nil, errors.New(item.Result.Error.Message)
		}
		words += item.Result.Value
	}
	return words, nil
}

// Wait for so many seconds, unless the gateway ends the execution before.
func wait(ctx context.Context, input json.RawMessage, _ *execution) (any, error) {
	var seconds float64
	if err := json.Unmarshal(input, &seconds); err != nil {
		return nil, err
	}
	log.Print("wait: begun")
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return input, nil
	case <-ctx.Done():
		log.Print("wait: ended by the gateway")
		return nil, ctx.Err()
	}
}
