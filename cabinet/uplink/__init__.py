"""Link of a cabinet to its fleet: facts up, orders down. A process of its own; it owns no money and no session."""
