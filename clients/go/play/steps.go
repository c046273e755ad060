package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/runs-gateway/runs-gateway/clients/go/runs"
	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
)

// step is a step of the scenario, with the arguments of all kinds of them.
type step struct {
	Name      string            `json:"step"`
	At        string            `json:"at"`
	Do        string            `json:"do"`
	As        string            `json:"as"`
	Flow      string            `json:"flow"`
	FlowID    string            `json:"flowId"`
	Inputs    []json.RawMessage `json:"inputs"`
	Key       string            `json:"key"`
	Labels    map[string]string `json:"labels"`
	SameAs    string            `json:"sameAs"`
	Run       string            `json:"run"`
	RunID     string            `json:"runId"`
	Runs      []string          `json:"runs"`
	RunIDs    []string          `json:"runIds"`
	Order     string            `json:"order"`
	Heartbeat float64           `json:"heartbeat"`
	Slow      bool              `json:"slow"`
	Summary   bool              `json:"summary"`
	States    []string          `json:"states"`
	Results   bool              `json:"results"`
	Until     string            `json:"until"`
	Reason    string            `json:"reason"`
	Cancel    bool              `json:"cancel"`
	PageSize  int32             `json:"pageSize"`
}

type place struct {
	Address     string   `json:"address"`
	CA          string   `json:"ca"`
	Cert        string   `json:"cert"`
	Key         string   `json:"key"`
	Token       *string  `json:"token"`
	GiveUpAfter *float64 `json:"giveUpAfter"`
}

// player plays steps, each with the client of its place, and remembers what later ones call by a name.
type player struct {
	places  map[string]place
	clients map[string]*runs.Client
	named   map[string]string
}

// play plays a step, and returns its line.
func (p *player) play(ctx context.Context, asked step) (string, error) {
	client, err := p.client(asked.At)
	if err != nil {
		return "", err
	}
	plays := map[string]func(context.Context, *runs.Client, step) (string, error){
		"put": p.put, "submit": p.submit, "get": p.get, "watch": p.watch, "watchMany": p.watchMany,
		"results": p.results, "set": p.set, "cancel": p.cancel, "delete": p.delete, "list": p.list,
	}
	told, err := plays[asked.Do](ctx, client, asked)
	if failure, ok := err.(*runs.Error); ok {
		told, err = showError(failure), nil
	}
	return object(member("step", text(asked.Name)), told), err
}

func (p *player) client(name string) (*runs.Client, error) {
	if client := p.clients[name]; client != nil {
		return client, nil
	}
	place := p.places[name]
	var options []runs.Option
	if place.CA != "" {
		options = append(options, runs.WithCA(place.CA))
	}
	if place.Cert != "" || place.Key != "" {
		options = append(options, runs.WithCertificate(place.Cert, place.Key))
	}
	if place.Token != nil {
		options = append(options, runs.WithToken(*place.Token))
	}
	if place.GiveUpAfter != nil {
		options = append(options, runs.GiveUpAfter(seconds(*place.GiveUpAfter)))
	}
	client, err := runs.Dial(place.Address, options...)
	p.clients[name] = client
	return client, err
}

func (p *player) put(ctx context.Context, client *runs.Client, step step) (string, error) {
	flowID, err := client.PutFlow(ctx, step.Flow)
	p.named[step.As] = flowID
	return member("flowId", text(flowID)), err
}

func (p *player) submit(ctx context.Context, client *runs.Client, step step) (string, error) {
	flowID := step.FlowID
	if flowID == "" {
		flowID = p.named[step.Flow]
	}
	run, err := client.Submit(ctx, flowID, inputs(step.Inputs), runs.SubmitOptions{Key: step.Key, Labels: step.Labels})
	if err != nil {
		return "", err
	}
	p.named[step.As] = run.RunId
	told := member("flowName", text(run.GetFlowName())) + "," + member("total", text(run.Items.GetTotal()))
	if step.SameAs != "" {
		told += "," + member("same", text(p.named[step.SameAs] == run.RunId))
	}
	return told, nil
}

func (p *player) get(ctx context.Context, client *runs.Client, step step) (string, error) {
	run, err := client.Get(ctx, p.run(step))
	if err != nil {
		return "", err
	}
	return showState(run), nil
}

func (p *player) watch(ctx context.Context, client *runs.Client, step step) (string, error) {
	watch := client.Watch(ctx, p.run(step), runs.WatchOptions{Heartbeat: seconds(step.Heartbeat)})
	defer watch.Close()
	var run *runsv1.RunStatus
	reconnected := false
	for {
		update, err := watch.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if run == nil && step.Slow {
			if _, err := client.Wait(ctx, p.run(step)); err != nil {
				return "", err
			}
		}
		run = update.Onto(run)
		reconnected = reconnected || update.Reconnected
	}
	return step.showRun(run) + "," + member("reconnected", text(reconnected)), nil
}

func (p *player) watchMany(ctx context.Context, client *runs.Client, step step) (string, error) {
	var runIDs []string
	for _, name := range step.Runs {
		runIDs = append(runIDs, p.named[name])
	}
	runIDs = append(runIDs, step.RunIDs...)
	watch := client.WatchMany(ctx, runIDs, runs.ManyOptions{
		ByCompletion: step.Order == "byCompletion", Heartbeat: seconds(step.Heartbeat),
	})
	defer watch.Close()
	outcomes, reconnected, err := collectMany(watch)
	if err != nil {
		return "", err
	}
	var shown []string
	for _, runID := range runIDs {
		if failure := outcomes[runID].failure; failure != nil {
			shown = append(shown, object(showError(failure)))
		} else {
			shown = append(shown, object(step.showRun(outcomes[runID].run)))
		}
	}
	return member("runs", array(shown)) + "," + member("reconnected", text(reconnected)), nil
}

func (p *player) results(ctx context.Context, client *runs.Client, step step) (string, error) {
	following := client.Results(ctx, p.run(step), runs.WatchOptions{ByCompletion: step.Order == "byCompletion"})
	defer following.Close()
	var results []*runsv1.ItemResult
	for {
		result, err := following.Next()
		if err == io.EOF {
			return step.show(results), nil
		}
		if err != nil {
			return "", err
		}
		results = append(results, result)
	}
}

func (p *player) set(ctx context.Context, client *runs.Client, step step) (string, error) {
	watch := client.WatchSet(ctx, step.filter(), runs.SetOptions{Results: step.Results})
	defer watch.Close()
	picture, reconnected, err := collect(watch, func(picture runs.RunSet) bool { return isComplete(picture, step.Until) })
	if err != nil {
		return "", err
	}
	var shown []string
	for _, run := range picture {
		members := []string{member("name", text(run.Labels["name"])), showState(run)}
		if step.Results {
			members = append(members, member("results", showResults(run.Results)))
		}
		shown = append(shown, object(members...))
	}
	sort.Strings(shown) // Each begins with its name.
	return member("runs", array(shown)) + "," + member("reconnected", text(reconnected)), nil
}

func (p *player) cancel(ctx context.Context, client *runs.Client, step step) (string, error) {
	run, err := client.Cancel(ctx, p.run(step), step.Reason)
	if err != nil {
		return "", err
	}
	return showState(run), nil
}

func (p *player) delete(ctx context.Context, client *runs.Client, step step) (string, error) {
	return member("deleted", "true"), client.Delete(ctx, p.run(step), step.Cancel)
}

func (p *player) list(ctx context.Context, client *runs.Client, step step) (string, error) {
	names, token := []string{}, ""
	for {
		page, err := client.List(ctx, step.filter(), step.PageSize, token)
		if err != nil {
			return "", err
		}
		for _, run := range page.Runs {
			names = append(names, run.Labels["name"])
		}
		if token = page.Next; token == "" {
			return member("runs", text(names)) + "," + member("total", text(page.Total)), nil
		}
	}
}

// run returns the id of a run that a step gives, or that of what an earlier one has called so.
func (p *player) run(step step) string {
	if step.RunID != "" {
		return step.RunID
	}
	return p.named[step.Run]
}

func (s step) filter() *runsv1.RunFilter {
	filter := &runsv1.RunFilter{Labels: s.Labels}
	for _, state := range s.States {
		number := runsv1.RunState_value["RUN_STATE_"+strings.ToUpper(state)]
		filter.States = append(filter.States, runsv1.RunState(number))
	}
	return filter
}

func (s step) showRun(run *runsv1.RunStatus) string {
	return showState(run) + "," + s.show(run.Results)
}

func (s step) show(results []*runsv1.ItemResult) string {
	if s.Summary {
		return member("results", summarize(results))
	}
	return member("results", showResults(results))
}

// inputs returns the texts of inputs: they are given as such, or many alike by their number and length.
func inputs(given []json.RawMessage) []string {
	texts := []string{}
	for _, each := range given {
		var one string
		if json.Unmarshal(each, &one) == nil {
			texts = append(texts, one)
			continue
		}
		var many struct{ Count, Pad int }
		if err := json.Unmarshal(each, &many); err != nil {
			panic(err) // The scenario is wrong.
		}
		for index := 0; index < many.Count; index++ {
			texts = append(texts, fmt.Sprintf(`[%d,"%s"]`, index, strings.Repeat("x", many.Pad)))
		}
	}
	return texts
}

// collect follows a set until its picture is complete, and is as it is wanted. It also tells of cuts.
func collect(watch *runs.SetWatch, wanted func(runs.RunSet) bool) (picture runs.RunSet, reconnected bool, err error) {
	picture = runs.RunSet{}
	for caughtUp := false; !caughtUp || !wanted(picture); {
		event, err := watch.Next()
		if err != nil {
			return nil, false, err
		}
		picture.Add(event)
		// After a cut, the set tells what has happened meanwhile, and is complete then.
		caughtUp = event.CaughtUp || (caughtUp && !event.Restarted && !event.Reconnected)
		reconnected = reconnected || event.Reconnected
	}
	return picture, reconnected, nil
}

// outcome is what has come of one of many runs: its last state, with all results, or an error.
type outcome struct {
	run     *runsv1.RunStatus
	failure *runs.Error
}

// collectMany follows many runs until each has ended. It also tells of cuts.
func collectMany(watch *runs.ManyWatch) (outcomes map[string]outcome, reconnected bool, err error) {
	outcomes = map[string]outcome{}
	for {
		event, err := watch.Next()
		if err == io.EOF {
			return outcomes, reconnected, nil
		}
		if err != nil {
			return nil, false, err
		}
		of := outcomes[event.RunID]
		if event.Update != nil {
			of.run = event.Update.Onto(of.run)
			reconnected = reconnected || event.Update.Reconnected
		}
		if failure, ok := event.Err.(*runs.Error); ok {
			of.failure = failure
		}
		outcomes[event.RunID] = of
	}
}

// isComplete tells whether a set that is complete has come to where a step follows it to.
func isComplete(picture runs.RunSet, until string) bool {
	if until != "ended" {
		return until == "caughtUp" || len(picture) == 0
	}
	for _, run := range picture {
		if !runs.Ended(run) {
			return false
		}
	}
	return len(picture) > 0
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }
