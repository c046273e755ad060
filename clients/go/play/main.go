// Plays the scenario of all clients, or is a client for the conformance kit.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/runs-gateway/runs-gateway/clients/go/runs"
)

func main() {
	if len(os.Args) < 3 || (len(os.Args) != 4 && os.Args[1] != "watch") {
		misused()
	}
	var err error
	switch first, more := os.Args[2], os.Args[3:]; os.Args[1] {
	case "play":
		err = play(first, more[0])
	case "follow":
		err = follow(first, more[0])
	case "watch":
		err = followMany(first, more)
	case "set":
		err = followSet(first, more[0])
	default:
		misused()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func misused() {
	fmt.Fprintln(os.Stderr,
		"usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | watch ADDRESS RUN_ID... | set ADDRESS RUN_ID")
	os.Exit(64)
}

func play(scenario, places string) error {
	var list []step
	player := player{clients: map[string]*runs.Client{}, named: map[string]string{}}
	if err := read(scenario, &list); err != nil {
		return err
	}
	if err := read(places, &player.places); err != nil {
		return err
	}
	for _, step := range list {
		line, err := player.play(context.Background(), step)
		if err != nil {
			return fmt.Errorf("%s: %w", step.Name, err)
		}
		fmt.Println(line)
	}
	return nil
}

// follow prints what has come of a run.
func follow(address, runID string) error {
	client, err := runs.Dial(address)
	if err != nil {
		return err
	}
	defer client.Close()
	run, err := client.Wait(context.Background(), runID)
	failure, ok := err.(*runs.Error)
	if err != nil && !ok {
		return err
	}
	fmt.Println(showOutcome(outcome{run, failure}))
	return nil
}

// followMany prints what has come of each of many runs.
func followMany(address string, runIDs []string) error {
	client, err := runs.Dial(address)
	if err != nil {
		return err
	}
	defer client.Close()
	watch := client.WatchMany(context.Background(), runIDs, runs.ManyOptions{})
	defer watch.Close()
	outcomes, _, err := collectMany(watch)
	if err != nil {
		return err
	}
	var members []string
	for runID, outcome := range outcomes {
		members = append(members, member(runID, showOutcome(outcome)))
	}
	fmt.Println(object(members...))
	return nil
}

func showOutcome(of outcome) string {
	if of.failure != nil {
		return object(member("error", text(of.failure.CodeName())))
	}
	return object(member("status", text(stateName(of.run.Status))), member("results", showResults(of.run.Results)))
}

// followSet prints the states of all runs, when a run is among them and has ended.
func followSet(address, runID string) error {
	client, err := runs.Dial(address)
	if err != nil {
		return err
	}
	defer client.Close()
	watch := client.WatchSet(context.Background(), nil, runs.SetOptions{})
	defer watch.Close()
	picture, _, err := collect(watch, func(picture runs.RunSet) bool { return runs.Ended(picture[runID]) })
	if err != nil {
		return err
	}
	states := map[string]string{}
	for id, run := range picture {
		states[id] = stateName(run.Status)
	}
	fmt.Println(text(states))
	return nil
}

func read(file string, into interface{}) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
