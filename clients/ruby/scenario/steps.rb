# frozen_string_literal: true

require 'runs_gateway'
require_relative 'outcomes'
require_relative 'printing'

# Plays steps, each with the client of its place, and remembers what they are called by later ones.
class Steps
  include Printing

  KINDS = %w[put submit get watch watchMany results set cancel delete list].freeze

  def initialize(places)
    @places = places
    @clients = {}
    @named = {}
  end

  # Plays a step, and returns its line.
  def play(step)
    kind = KINDS.fetch(KINDS.index(step['do']))
    told = begin
      members(**send(snake(kind), client(step['at']), step))
    rescue RunsGateway::Error => e
      failure(e)
    end
    "{\"step\":#{text(step['step'])},#{told[1..]}"
  end

  private

  def client(name)
    @clients[name] ||= @places.fetch(name).then do |place|
      security = %w[ca cert key token].to_h { |name| [name.to_sym, place[name]] }
      RunsGateway::Client.new(place['address'], retry_for: place.fetch('giveUpAfter', 60.0), **security)
    end
  end

  def put(client, step)
    @named[step['as']] = client.put(step['flow'])
    { flowId: text(@named[step['as']]) }
  end

  def submit(client, step)
    chosen = step.key?('key') ? { key: step['key'] } : {}
    run = client.submit(id(step, 'flow'), inputs(step['inputs']), labels: step.fetch('labels', {}), **chosen)
    @named[step['as']] = run.run_id
    told = { flowName: text(run.flow_name), total: text(run.items&.total.to_i) }
    step.key?('sameAs') ? { **told, same: text(@named[step['sameAs']] == run.run_id) } : told
  end

  def get(client, step)
    state(client.get(id(step, 'run')))
  end

  def watch(client, step)
    picture = RunsGateway::RunPicture.new
    reconnected = false
    client.watch(id(step, 'run'), heartbeat: step.fetch('heartbeat', 10.0)) do |update|
      client.wait(id(step, 'run')) if picture.run.nil? && step['slow']
      picture.add(update)
      reconnected ||= update.reconnected
    end
    { **came(picture, step), reconnected: text(reconnected) }
  end

  def watch_many(client, step)
    run_ids = [*step['runs'].map { |name| @named.fetch(name) }, *step['runIds']]
    order = snake(step.fetch('order', 'byIndex'))
    outcomes = Outcomes.new(client.watch_many(run_ids, order:, heartbeat: step.fetch('heartbeat', 10.0)))
    runs = run_ids.map do |run_id|
      case outcomes[run_id]
      in RunsGateway::Error => error then failure(error)
      in picture then members(**came(picture, step))
      end
    end
    { runs: array(runs), reconnected: text(outcomes.reconnected) }
  end

  def results(client, step)
    { results: shown(client.results(id(step, 'run'), order: snake(step['order'])).to_a, step) }
  end

  def set(client, step)
    picture = RunsGateway::RunSet.new
    caught_up = reconnected = false
    client.watch_set(filter(step), results: step.fetch('results', false)) do |event|
      picture.add(event)
      reconnected ||= event.reconnected
      caught_up = event.kind == :caught_up || (caught_up && !event.reconnected)
      break if caught_up && complete?(picture.runs.values, step['until'])
    end
    runs = picture.runs.values.sort_by { |run| run.labels['name'] }
    { runs: array(runs.map { |run| member(run, step) }), reconnected: text(reconnected) }
  end

  def cancel(client, step)
    state(client.cancel(id(step, 'run'), reason: step.fetch('reason', '')))
  end

  def delete(client, step)
    client.delete(id(step, 'run'), cancel: step.fetch('cancel', false))
    { deleted: text(true) }
  end

  def list(client, step)
    names = []
    token = ''
    loop do
      page = client.list_page(filter(step), page_size: step['pageSize'], page_token: token, total: true)
      names.concat(page.runs.map { |run| run.labels['name'] })
      token = page.next_page_token
      return { runs: text(names), total: text(page.total_size) } if token.empty?
    end
  end

  # Returns the id that a step gives, or that of what an earlier one has called so.
  def id(step, kind)
    step.fetch("#{kind}Id") { @named.fetch(step[kind]) }
  end

  # Returns inputs: they are given as texts, or many alike by their number and length.
  def inputs(given)
    texts = given.flat_map do |each|
      next [each] if each.is_a?(String)

      Array.new(each['count']) { |index| "[#{index},\"#{'x' * each['pad']}\"]" }
    end
    texts.map { |text| RunsGateway::JsonText.new(text) }
  end

  def filter(step)
    { labels: step.fetch('labels', {}), states: step.fetch('states', []).map { |state| :"RUN_STATE_#{state.upcase}" } }
  end

  def complete?(runs, wanted)
    case wanted
    when 'caughtUp' then true
    when 'empty' then runs.empty?
    else runs.any? && runs.all? { |run| RunsGateway.ended?(run) }
    end
  end

  def member(run, step)
    told = { name: text(run.labels['name']), **state(run) }
    step['results'] ? members(**told, results: Printing.results(run.results)) : members(**told)
  end

  def came(picture, step)
    { **state(picture.run), results: shown(picture.results, step) }
  end

  def shown(results, step)
    step['summary'] ? summary(results) : Printing.results(results)
  end

  # Returns the name that Ruby has for one of the scenario.
  def snake(name)
    name.gsub(/[A-Z]/) { |letter| "_#{letter.downcase}" }
  end
end
