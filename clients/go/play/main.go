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
	modes := map[string]func(string, string) error{"play": play, "follow": follow, "set": followSet}
	if len(os.Args) != 4 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | set ADDRESS RUN_ID")
		os.Exit(64)
	}
	if err := modes[os.Args[1]](os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
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
	if failure, ok := err.(*runs.Error); ok {
		fmt.Println(object(member("error", text(failure.CodeName()))))
		return nil
	}
	if err == nil {
		fmt.Println(object(member("status", text(stateName(run.Status))), member("results", showResults(run.Results))))
	}
	return err
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
