package io.github.runs_gateway.client;

/** A field of a request that breaks its rule. */
public record Violation(String field, String description) {}
