/** The functions log and count as on Lambda; a simulation has its own trace. Import it first. */
process.env['POWERTOOLS_LOG_LEVEL'] = 'SILENT';
process.env['POWERTOOLS_METRICS_DISABLED'] = 'true';
