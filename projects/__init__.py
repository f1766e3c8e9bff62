"""What a team owns: people, projects, datasets, teachers and students."""
