"""Time series: files into tables, tables into a memory-mapped store, a store into windows."""
