"""What people judged: tables and their readers, agreement with them, and curves fitted to them."""
