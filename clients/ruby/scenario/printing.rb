# frozen_string_literal: true

require 'json'

# What the program prints: JSON whose members have one order, with payloads as the texts that they are.
module Printing
  module_function

  # Returns an object whose members have JSON texts.
  def members(**texts)
    "{#{texts.map { |name, json| "#{text(name.to_s)}:#{json}" }.join(',')}}"
  end

  # Returns a value as compact JSON.
  def text(value)
    JSON.generate(value)
  end

  # Returns an array of JSON texts.
  def array(texts)
    "[#{texts.join(',')}]"
  end

  # Returns the word for a state: :RUN_STATE_SUCCESS is "success".
  def word(state)
    text(state.to_s.delete_prefix('RUN_STATE_').downcase)
  end

  # Returns the members that tell how far a run is.
  def state(run)
    items = run.items || RunsGateway::V1::ItemStatistics.new
    counts = %i[total success failed cancelled].to_h { |name| [name, text(items[name.to_s])] }
    told = { status: word(run.status), **counts }
    run.has_cancel_reason? ? { **told, cancelReason: text(run.cancel_reason) } : told
  end

  # Returns an array of results.
  def results(given)
    array(given.map { |each| result(each) })
  end

  # Returns what can be told of many results in short: whether each came once and in order, and how long they are.
  def summary(given)
    in_order = given.each_with_index.all? { |result, place| result.item_index == place }
    size = given.sum { |result| result.value.nil? ? 0 : result.value.json.bytesize }
    members(count: text(given.size), inOrder: text(in_order), bytes: text(size))
  end

  # Returns the end of a run with its results.
  def folded(run, given = run.results)
    members(status: word(run.status), results: results(given))
  end

  # Returns why a run cannot be followed.
  def refused(error)
    members(error: text(error.code))
  end

  # Returns an object with an error.
  def failure(error)
    violations = error.violations.map { |each| { field: each.field, description: each.description } }
    members(error: text({ code: error.code, reason: error.reason, violations: }))
  end

  def result(result)
    told = { itemIndex: text(result.item_index), status: word(result.status) }
    case result.outcome
    when :error then members(**told, error: item_error(result.error))
    when :value then members(**told, value: result.value.json)
    else members(**told)
    end
  end

  def item_error(error)
    told = { code: text(error.code), message: text(error.message) }
    error.data.nil? ? members(**told) : members(**told, data: error.data.json)
  end
end
