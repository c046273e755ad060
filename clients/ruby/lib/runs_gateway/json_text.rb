# frozen_string_literal: true

require 'json'
require 'runs/v1/runs_pb'

module RunsGateway
  # A JSON value as its exact text: <tt>JsonText.new('1e400')</tt> is sent as it stands, and would be no Float.
  JsonText = Struct.new(:text)

  # Returns the message for a value: the text of a JsonText, or what JSON.generate writes.
  def self.json_value(value)
    V1::JsonValue.new(json: value.is_a?(JsonText) ? value.text : JSON.generate(value))
  end

  # The generated messages of the contract.
  V1 = Runs::V1
end
